/* An update on one machine (docs/protocol/applying.md): the target's owner with its journal and record, a session, the
 * server, and a world that kills the agent between any two steps, takes the server away for good or for a while, aborts
 * the task, delivers a confirmation late, lets any command fail, and puts an older state of the disk back.
 *
 * FILES=1 is method exchange (one step puts the whole set in place), FILES=2 is method files (one rename a file). The
 * owner and the session are two processes that a kill ends at the same moment; the disk outlives them. BAD_SET is a new
 * set that ends the agent again and again for as long as it is in place.
 *
 * Checked: wherever a run ends, with or without the server, nothing is undecided and the target is the whole old set or
 * the whole new one, and the new one only if the server has confirmed it (assertions, no invalid end state); what is
 * declared, confirmed and told to the person is on the disk and its apply has passed (assertions); every run ends (no
 * cycle). These variants must fail:
 *   JOURNAL_IN_SESSION    what is undecided is settled only while the server can be reached
 *   NO_BOOT_LIMIT         each start gives an undecided update the whole confirm-timeout again
 *   CONFIRM_BEFORE_APPLY  the confirmation is sent before the commands have passed
 *   COMMIT_UNCONFIRMED    the journal goes when the commands have passed, and not when the server has confirmed
 *   MEMORY_FOR_DISK       CONFIRMED stays what it is, whatever digest is declared
 *   STALE_RECORD          the record keeps its digest when a roll-back's apply has failed
 *   FORGETS_WHAT_IT_TOLD  "confirmed" is believed, though it answers a declaration from before a roll-back
 *   UNNOTED_APPLY         the start of the apply is not noted, so that a roll-back does not run it for the old set
 *   UNNOTED_SWAP          the swap begins before the journal names it
 */

#ifndef FILES
#define FILES 1
#endif
#ifndef KILLS
#define KILLS 2
#endif
#define OUTAGES 1
#define ATTEMPTS 2
#define MAX_APPLY_RUNS 2
/* Starts after which the confirm-timeout is over: each counts for a part of it. */
#define STARTS 3

#define NOTHING 0
#define OLD 1
#define NEW 2

mtype = { none, staged, applying, applied, rolling_back, committed };
mtype = { offered, working, confirmed, rolled_back, rollback_failed, canceled };
mtype = { stage, carry_out, commit, give_up, yes, no };

/* The disk. It outlives the agent. */
byte file[FILES];
mtype journal = none;
byte journal_attempt, apply_runs, waited;
byte record = OLD; /* The set whose apply has passed, as the record beside the target says. */

/* What the program has in fact been told to run with; NOTHING while an apply runs and after one that failed. */
byte loaded = OLD;

/* The server. */
bool up = true;
mtype state = offered;
byte attempt = 1;
bool ever_confirmed;

/* The world. */
byte kills = KILLS, outages = OUTAGES;
bool may_abort = true, may_restore = true, comes_back;
bool kill_owner, kill_session, owner_waits;

chan ask = [0] of { mtype, byte /* attempt */ };
chan answer = [0] of { mtype };
chan confirmation = [1] of { byte /* attempt */, byte /* digest */ };

#if FILES == 1
#define WHOLE true
#define IN_PLACE(set) (file[0] == set)
#else
#define WHOLE (file[0] == file[1])
#define IN_PLACE(set) (file[0] == set && file[1] == set)
#endif
/* What is read from the disk at a declaration. */
#define DECLARED \
  ((journal == none && record != NOTHING && IN_PLACE(record)) -> record : \
   ((journal == applied && IN_PLACE(NEW)) -> NEW : NOTHING))

inline put(set) {
  i = 0;
  do
  :: i < FILES -> file[i] = set; i++
  :: else -> break
  od;
  i = 0
}

/* A command for the set: passes or fails. While it runs nobody knows what the program has. */
inline run_apply(set) {
  loaded = NOTHING;
  if
  :: loaded = set
  :: skip
  fi
}

proctype Owner() {
  byte i;
  byte asked;
start:
  {
    if
    :: journal == none -> goto idle
    :: journal == rolling_back -> goto back
    :: journal == committed -> goto clean
    :: else ->
#ifndef NO_BOOT_LIMIT
       waited++;
       if
       :: waited >= STARTS -> goto begin_back
       :: else -> skip
       fi;
#endif
       owner_waits = true;
       if
       :: journal == staged -> goto forward
       :: else -> goto undecided
       fi
    fi;
idle:
    assert(WHOLE && journal == none);
    assert(!IN_PLACE(NEW) || ever_confirmed);
end_idle:
    if
    :: ask?stage(asked) ->
#ifdef UNNOTED_SWAP
       file[0] = NEW;
#endif
       atomic { journal = staged; journal_attempt = asked; apply_runs = 0; waited = 0; asked = 0; owner_waits = true };
       put(NEW);
       answer!yes;
       goto undecided
    :: ask?carry_out(_) -> answer!no; goto idle
    :: ask?commit(_) -> answer!no; goto idle
    :: ask?give_up(_) -> answer!no; goto idle
    fi;
forward: /* A kill has ended the swap in its middle. */
    put(NEW);
undecided:
    if
    :: ask?stage(_) -> answer!no; goto undecided
    :: ask?carry_out(_) ->
       if
       :: journal == applied -> answer!yes; goto undecided
       :: apply_runs == MAX_APPLY_RUNS -> goto begin_back_and_say
       :: journal != applied -> goto begin_back_and_say /* The check fails. */
       :: journal != applied && apply_runs < MAX_APPLY_RUNS ->
#ifndef UNNOTED_APPLY
          atomic { journal = applying; apply_runs++ };
#endif
          run_apply(NEW);
          if
          :: loaded == NEW -> journal = applied; answer!yes
          :: else -> goto begin_back_and_say
          fi;
#ifdef COMMIT_UNCONFIRMED
          goto settle_new;
#endif
          goto undecided
       fi
    :: ask?commit(asked) ->
       if
       :: journal == applied && asked == journal_attempt -> asked = 0; goto settle_new_and_say
       :: else -> asked = 0; answer!no; goto undecided
       fi
    :: ask?give_up(_) -> goto begin_back_and_say
    /* The confirm-timeout is over: nobody is asked. */
#ifdef JOURNAL_IN_SESSION
    :: up -> goto begin_back
#else
    :: true -> goto begin_back
#endif
    fi;
settle_new_and_say:
    journal = committed;
    answer!yes;
    goto clean;
#ifdef COMMIT_UNCONFIRMED
settle_new:
    journal = committed;
#endif
clean:
    owner_waits = false;
    record = NEW;
    atomic { journal = none; apply_runs = 0; journal_attempt = 0; waited = 0 };
    goto idle;
begin_back_and_say:
    journal = rolling_back;
    answer!no;
    goto back;
begin_back:
    journal = rolling_back;
back:
    owner_waits = false;
    put(OLD);
    if
    :: apply_runs > 0 ->
#ifndef STALE_RECORD
       record = NOTHING;
#endif
       run_apply(OLD);
       if
       :: loaded == OLD -> record = OLD
       :: else -> skip
       fi
    :: else -> skip
    fi;
    atomic { journal = none; apply_runs = 0; journal_attempt = 0; waited = 0 };
    goto idle
  } unless {
    atomic { kill_owner -> kill_owner = false; owner_waits = false; i = 0; asked = 0 };
    goto start
  }
}

/* Tells the server what the disk has, as it is at that moment, and hears where the client stands. */
inline declare() {
  atomic {
    up;
    assert(DECLARED == NOTHING || DECLARED == loaded);
    if
    :: state == offered && DECLARED == NEW -> state = confirmed; ever_confirmed = true
#ifndef MEMORY_FOR_DISK
    :: state == confirmed && DECLARED != NEW && attempt < ATTEMPTS -> state = offered; attempt++
    :: state == confirmed && DECLARED != NEW && attempt == ATTEMPTS -> state = canceled
#endif
    :: else -> skip
    fi;
    assert(state != confirmed || DECLARED == NEW);
    heard = state; told = (journal == none -> DECLARED : NOTHING)
  }
}

proctype Session() {
  mtype heard = none; /* What the server has answered last. */
  byte told; /* What it was told then, and nothing undecided: that may be rolled back before the answer comes. */
again:
  { skip;
    /* Wherever it waits for the server, that may stay away for ever. */
end_declare:
    declare();
    if
    :: heard == offered && journal == none ->
end_accept:
       atomic { up -> state = (state == offered -> working : state) };
       ask!stage(attempt); answer?_;
       goto apply
    :: heard == working && journal != none && journal != rolling_back && journal != committed &&
       journal_attempt == attempt -> goto apply
    :: heard == working && journal == none ->
end_report:
       atomic { up -> state = (state == working -> rolled_back : state) };
       goto over
    :: heard == confirmed && journal == applied -> goto settle
#ifdef FORGETS_WHAT_IT_TOLD
    :: heard == confirmed && journal == none ->
#else
    :: heard == confirmed && journal == none && told == NEW ->
#endif
       /* A person reads "confirmed", exit code 0. */
       atomic { assert(IN_PLACE(NEW) && loaded == NEW) };
       goto over
    :: heard == canceled || heard == rolled_back || heard == rollback_failed ->
       ask!give_up(0); answer?_;
       goto over
    :: else -> /* Something of another attempt lies there: the server does not wait for it. */
       ask!give_up(0); answer?_;
       goto again
    fi;
apply:
#ifndef CONFIRM_BEFORE_APPLY
    ask!carry_out(attempt);
    if
    :: answer?yes
    :: answer?no ->
end_failed:
       atomic { up -> state = (state == working -> rolled_back : state) };
       goto over
    fi;
#endif
end_confirm:
    atomic {
      up && empty(confirmation);
#ifndef CONFIRM_BEFORE_APPLY
      if
      :: journal != applied -> goto again /* The owner has rolled it back meanwhile. */
      :: else -> skip
      fi;
#endif
      assert(IN_PLACE(NEW) && loaded == NEW);
      confirmation!attempt, NEW
    };
    /* Heard, lost, or on its way for longer than anybody waits. */
    if
    :: empty(confirmation) -> skip
    :: !up -> skip
    fi;
    if
    :: state == confirmed && up -> goto settle
    :: else -> goto again
    fi;
settle:
    ask!commit(attempt);
    if
    :: answer?yes -> goto again
    :: answer?no -> goto again
    fi;
over:
end_over:
    false
  } unless {
    kill_session -> atomic { !kill_owner -> kill_session = false; heard = none; told = NOTHING };
    goto again
  }
}

/* Delivers what is on its way: early, late, or never. */
active proctype Network() {
  byte of_attempt;
end_network:
  do
  :: atomic { confirmation?of_attempt, _ ->
     if
     :: up && state == working && of_attempt == attempt -> state = confirmed; ever_confirmed = true
     :: else -> skip /* Lost, or too late. */
     fi;
     of_attempt = 0 }
  od
}

#define IS_UNDECIDED (journal == staged || journal == applying || journal == applied)

active proctype World() {
end_world:
  do
  :: atomic { kills > 0 && !kill_owner && !kill_session -> kills--; kill_owner = true; kill_session = true }
#ifdef BAD_SET
  :: atomic { owner_waits && IS_UNDECIDED && IN_PLACE(NEW) && !kill_owner && !kill_session ->
     kill_owner = true; kill_session = true }
#endif
  :: atomic { outages > 0 && up -> outages--; up = false; if :: comes_back = true :: skip /* Away for ever. */ fi }
  :: atomic { comes_back -> comes_back = false; up = true }
  :: atomic { may_abort && (state == offered || state == working) -> may_abort = false; state = canceled }
  /* The machine comes back from a snapshot of before. */
  :: atomic { may_restore && journal == none && !owner_waits && !kill_owner && !kill_session && empty(confirmation) ->
     may_restore = false; file[0] = OLD; file[FILES - 1] = OLD; record = OLD; loaded = OLD;
     kill_owner = true; kill_session = true }
  od
}

init {
  atomic { file[0] = OLD; file[FILES - 1] = OLD; run Owner(); run Session() }
}

/* To be refuted: else the model would hold for want of a good run. */
ltl never_new { [] !(IN_PLACE(NEW) && state == confirmed && journal == none) }
