/* The relay's rules for attempts and steps (docs/protocol/sas.md, "The relay"), with an honest relay, and for one
 * invitation a greeter, a claimer, and a second greeter or claimer. Anyone may crash at any wait, come back with or
 * without its state, vanish, or stop.
 *
 * Checked: nobody gets a message of another attempt or step (assertions); one claimer at most is enrolled; nobody
 * waits for ever (no invalid end state); every run ends (no cycle). These variants must fail:
 *   NO_LEASE          the relay waits for ever for a side that vanished
 *   NO_ATTEMPT_CHECK  it passes on what belongs to an older attempt
 *   NO_STEP_CHECK     it passes on what it has passed on before
 *   LATE_TAKEOVER     a second claimer may end an attempt after step 5, even after step 7
 *   REOPEN            an invitation whose step 7 was passed on can be used for another attempt
 */

#define NOBODY 4 /* 0 and 1 are greeters, 2 and 3 claimers. */
#define IS_GREETER(who) (who < 2)
#define SPEAKS(who, step) (step == 0 || (IS_GREETER(who) == (step == 2 || step == 5 || step == 7)))

/* The third party: 3 is a second claimer, 1 is a second greeter. */
#ifndef SECOND
#define SECOND 3
#endif
#define PARTIES 3
#ifndef FAULTS
#define FAULTS 2 /* Crashes, cancellations, leases that end a side which was only slow, messages that come late. */
#endif
#ifndef RETRIES
#define RETRIES 1 /* Further attempts, of all parties together. */
#endif
byte faults = FAULTS, retries = RETRIES;

mtype = { join, say, resume, stop, begin, deliver, ended, refused };
chan to_relay = [0] of { mtype, byte /* who */, byte /* attempt */, byte /* step */ };
chan inbox[4] = [6] of { mtype, byte /* attempt */, byte /* step */ };

byte finished, enrolled;

#define LAST 8

proctype Party(byte me) {
  byte attempt, a, step; /* Set back to 0 after use: fewer states. */
  byte due, said; /* The step that this side waits for, and the last that it said. */
  bool crashed;
#define CONFIRMED (due > 5)

again:
  to_relay!join(me, attempt, 0);
waiting: /* For the other side to be there. */
  if
  :: atomic { attempt > 0 && faults > 0 && inbox[me]?[begin, _, _] -> faults-- };
     to_relay!say(me, attempt, 2 - 2 * (me / 2)); /* Something of the older attempt was still on its way. */
     goto waiting
  :: atomic { inbox[me]?begin(a, step) -> attempt = a; a = 0; to_relay!say(me, attempt, 0) }
  :: inbox[me]?refused(_, _) -> goto leave
  :: inbox[me]?deliver(_, _) -> goto waiting /* Left over from an attempt that this side forgot. */
  :: inbox[me]?ended(_, _) -> goto waiting
  fi;
exchanging:
  if
  :: atomic { inbox[me]?deliver(a, step) ->
     if
     :: CONFIRMED && crashed && a == attempt && step < due -> goto exchanging /* Replayed: changes nothing. */
     :: else -> skip
     fi;
     assert(a == attempt && step == due);
     /* What this side says next, and what it then waits for. */
     if
     :: IS_GREETER(me) ->
        if
        :: due == 0 -> due = 1
        :: due == 1 -> said = 2; due = 3
        :: due == 3 -> due = 4
        :: due == 4 -> said = 5; due = 6
        :: due == 6 -> said = 7; due = 8
        :: due == 8 -> goto leave
        fi
     :: else ->
        if
        :: due == 0 -> said = 1; due = 2
        :: due == 2 -> said = 3; due = 5; to_relay!say(me, attempt, 3); said = 4 /* The person picked. */
        :: due == 5 -> said = 6; due = 7
        :: due == 7 -> atomic { enrolled++; assert(enrolled <= 1) }; to_relay!say(me, attempt, 8); goto leave
        fi
     fi;
     if
     :: said > 0 && !(IS_GREETER(me) && (due == 1 || due == 4)) -> to_relay!say(me, attempt, said)
     :: else -> skip
     fi;
     a = 0; step = 0
     };
     goto exchanging
  :: inbox[me]?ended(a, _) -> if :: a == attempt -> goto another :: a < attempt -> goto exchanging fi
  :: inbox[me]?refused(_, _) -> goto leave
  :: atomic { faults > 0 -> faults-- };
     crashed = true;
     if
     :: CONFIRMED -> /* From the saved state: say the last message again and ask for the next. */
        to_relay!say(me, attempt, said);
        to_relay!resume(me, attempt, due);
        goto exchanging
     :: goto another
     :: goto leave /* Never to come back. */
     fi
  :: atomic { faults > 0 -> faults-- }; to_relay!stop(me, attempt, 0); goto leave /* The person cancels. */
  fi;
another:
  if
  :: atomic { retries > 0 -> retries--; a = 0; step = 0; due = 0; said = 0; crashed = false }; goto again
  :: goto leave
  fi;
leave:
  atomic { finished++; attempt = 0; a = 0; step = 0; due = 0; said = 0; crashed = false }
}

/* From step 7 on the newcomer may hold its credentials: the invitation is spent, whatever else happens. */
#ifdef REOPEN
#define SPENT false
#else
#define SPENT (open > 7)
#endif
inline end_attempt() {
  active_attempt = false;
  if :: SPENT -> complete = true :: else -> skip fi
}

active proctype Relay() {
  byte attempt, a, who, step;
  bool active_attempt, complete;
  byte greeter = NOBODY, claimer = NOBODY; /* Of the attempt. */
  byte greeter_waits = NOBODY, claimer_waits = NOBODY;
  bool key_g, key_c;
  byte open; /* The step that is open: all before it are here. */
#define TAKES_PART (active_attempt && (who == greeter || who == claimer))
#define PEER (IS_GREETER(who) -> claimer : greeter)

  do
  :: to_relay?join(who, a, step) ->
     d_step {
       if
       :: complete -> inbox[who]!refused(0, 0)
       :: else ->
          if
          :: active_attempt && (who == greeter || who == claimer) -> /* It lost its state, or heard of an end. */
             inbox[PEER]!ended(attempt, 0);
             end_attempt()
          :: active_attempt && IS_GREETER(who) && who != greeter -> inbox[who]!refused(0, 0)
          :: active_attempt && !IS_GREETER(who) && who != claimer ->
#ifdef LATE_TAKEOVER
             inbox[greeter]!ended(attempt, 0); inbox[claimer]!ended(attempt, 0);
             active_attempt = false
#else
             if
             :: open <= 5 ->
                inbox[greeter]!ended(attempt, 0); inbox[claimer]!ended(attempt, 0);
                active_attempt = false
             :: else -> inbox[who]!refused(0, 0)
             fi
#endif
          :: else -> skip
          fi;
          if
          :: complete -> inbox[who]!refused(0, 0)
          :: !complete && active_attempt -> skip
          :: !complete && !active_attempt && IS_GREETER(who) ->
             if
             :: greeter_waits == NOBODY || greeter_waits == who -> greeter_waits = who
             :: else -> inbox[who]!refused(0, 0)
             fi
          :: else -> /* The newest claimer waits: an older one may be gone. */
             if
             :: claimer_waits != NOBODY && claimer_waits != who -> inbox[claimer_waits]!refused(0, 0)
             :: else -> skip
             fi;
             claimer_waits = who
          fi;
          if
          :: !active_attempt && greeter_waits != NOBODY && claimer_waits != NOBODY ->
             attempt++;
             active_attempt = true;
             greeter = greeter_waits; claimer = claimer_waits;
             greeter_waits = NOBODY; claimer_waits = NOBODY;
             key_g = false; key_c = false; open = 0;
             inbox[greeter]!begin(attempt, 0); inbox[claimer]!begin(attempt, 0)
          :: else -> skip
          fi
       fi;
       who = 0; a = 0; step = 0
     }
  :: to_relay?say(who, a, step) ->
     d_step {
       if
#ifdef NO_ATTEMPT_CHECK
       :: TAKES_PART && a != attempt -> inbox[PEER]!deliver(a, step)
#endif
       :: TAKES_PART && a == attempt && step == 0 && open == 0 ->
          if
          :: IS_GREETER(who) && !key_g -> key_g = true; inbox[claimer]!deliver(a, 0)
          :: !IS_GREETER(who) && !key_c -> key_c = true; inbox[greeter]!deliver(a, 0)
          :: else -> skip
          fi;
          if :: key_g && key_c -> open = 1 :: else -> skip fi
       :: TAKES_PART && a == attempt && step > 0 && step == open && SPEAKS(who, step) ->
          inbox[PEER]!deliver(a, step);
          open++;
          if :: step == LAST -> complete = true; active_attempt = false :: else -> skip fi
#ifdef NO_STEP_CHECK
       :: TAKES_PART && a == attempt && step > 0 && step < open -> inbox[PEER]!deliver(a, step)
#endif
       :: else -> skip /* Of an older attempt, or here already: changes nothing. */
       fi;
       who = 0; a = 0; step = 0
     }
  :: to_relay?resume(who, a, step) ->
     d_step {
       if
       :: TAKES_PART && a == attempt ->
          if
          :: step < open -> inbox[who]!deliver(a, step)
          :: else -> skip /* Not here yet: it will be delivered when it comes. */
          fi
       :: complete && open > LAST && a == attempt && who == greeter -> inbox[who]!deliver(a, LAST)
       :: else -> inbox[who]!ended(a, 0)
       fi;
       who = 0; a = 0; step = 0
     }
  :: to_relay?stop(who, a, step) ->
     d_step {
       if
       :: TAKES_PART && a == attempt -> inbox[PEER]!ended(attempt, 0); end_attempt()
       :: else -> skip
       fi;
       who = 0; a = 0; step = 0
     }
  :: atomic { faults > 0 && active_attempt -> faults-- };
     d_step { inbox[greeter]!ended(attempt, 0); inbox[claimer]!ended(attempt, 0); end_attempt() }
#ifndef NO_LEASE
  :: timeout -> /* Nothing more can come. */
     if
     :: active_attempt ->
        d_step { inbox[greeter]!ended(attempt, 0); inbox[claimer]!ended(attempt, 0); end_attempt() }
     :: greeter_waits != NOBODY -> inbox[greeter_waits]!refused(0, 0); greeter_waits = NOBODY
     :: claimer_waits != NOBODY -> inbox[claimer_waits]!refused(0, 0); claimer_waits = NOBODY
     fi
#endif
  :: finished == PARTIES -> break
  od
}

init {
  atomic { run Party(0); run Party(2); run Party(SECOND) }
}

/* To be refuted. */
ltl never_enrols { [] (enrolled == 0) }
