/* An update on one machine (docs/protocol/applying.md): the target's owner with its journal and record, a session, the
 * server, and a world that kills the agent between any two steps, takes the server away for good or for a while, aborts
 * the task, delivers a confirmation late, lets any command fail, puts an older state of the disk back, and removes the
 * target or one of its files: while nothing is undecided, in the middle of a swap, or before or after the commands.
 *
 * FILES=1 is method exchange (one step puts the whole set in place), FILES=2 is method files (one rename a file). The
 * owner and the session are two processes that a kill ends at the same moment; the disk outlives them. BAD_SET is a new
 * set that ends the agent again and again for as long as it is in place.
 *
 * Checked: wherever a run ends, with or without the server, nothing is undecided and the target is the whole old set or
 * the whole new one, and the new one only if the server has confirmed it (assertions, no invalid end state); what is
 * declared, confirmed and told to the person is on the disk and its apply has passed (assertions); every run ends (no
 * cycle). Files that somebody has removed are missing from a set, and make no other set of it. Those that are removed
 * while the update is undecided come back with the old set; those that were missing before are missing again; and the
 * person is told "confirmed" without them only if they were removed after the last declaration. These variants must fail:
 *   JOURNAL_IN_SESSION    what is undecided is settled only while the server can be reached
 *   NO_BOOT_LIMIT         each start gives an undecided update the whole confirm-timeout again
 *   CONFIRM_BEFORE_APPLY  the confirmation is sent before the commands have passed
 *   COMMIT_UNCONFIRMED    the journal goes when the commands have passed, and not when the server has confirmed
 *   MEMORY_FOR_DISK       CONFIRMED stays what it is, whatever digest is declared
 *   STALE_RECORD          the record keeps its digest when a roll-back's apply has failed
 *   FORGETS_WHAT_IT_TOLD  "confirmed" is believed, though it answers a declaration from before a roll-back
 *   UNNOTED_APPLY         the start of the apply is not noted, so that a roll-back does not run it for the old set
 *   UNNOTED_SWAP          the swap begins before the journal names it
 *   CONFIRMS_UNREAD       the confirmation is sent without a look at what is on the disk by then
 *   TARGET_FOR_PLACE      that the target has no new set is taken for a swap that never was, whatever the place holds
 */

#ifndef FILES
#define FILES 1
#endif
#ifndef KILLS
#define KILLS 2
#endif
/* How often somebody removes something. */
#ifndef REMOVALS
#define REMOVALS 0
#endif
#ifndef OUTAGES
#define OUTAGES 1
#endif
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
/* The place: what the swap takes out, and whether it has. */
byte before[FILES];
bool done[FILES];
mtype journal = none;
byte journal_attempt, apply_runs, waited;
byte record = OLD; /* The set whose apply has passed, as the record beside the target says. */
bool noted;        /* A rollback that the server does not know of, in the record too. */

/* What the program has in fact been told to run with; NOTHING while an apply runs and after one that failed. */
byte loaded = OLD;

/* The server. */
bool up = true;
mtype state = offered;
byte attempt = 1;
bool ever_confirmed;

/* The world. */
byte kills = KILLS, outages = OUTAGES, removals = REMOVALS;
bool removed_since; /* The last declaration. */
byte owed[FILES];   /* What was removed while the swap was undecided has to come back as this. */
bool may_abort = true, may_restore = true, comes_back;
bool kill_owner, kill_session, owner_waits;

chan ask = [0] of { mtype, byte /* attempt */ };
chan answer = [0] of { mtype };
chan confirmation = [1] of { byte /* attempt */, byte /* digest */ };

#define LAST (FILES - 1)
#define IS_MISSING(n) (file[n] == NOTHING && removals < REMOVALS)
#define IN_PLACE(set) (file[0] == set && file[LAST] == set)
#define HAS(set) (file[0] == set || file[LAST] == set)
#define WHOLE (IS_MISSING(0) || IS_MISSING(LAST) || (file[0] == file[LAST] && file[0] != NOTHING))
#define IS_SWAPPED (done[0] && done[LAST])
#define IS_UNDECIDED (journal == staged || journal == applying || journal == applied)
#define IS_BACK(n) (owed[n] == NOTHING || file[n] == owed[n])
/* What is read from the disk at a declaration. */
#define DECLARED \
  ((journal == none && record != NOTHING && IN_PLACE(record)) -> record : \
   ((journal == applied && IN_PLACE(NEW)) -> NEW : NOTHING))

/* Each file has to be what it was when the new set was built. */
inline swap() {
  do
  :: atomic { i < FILES && file[i] == before[i] -> file[i] = NEW; done[i] = true; i++ }
  :: atomic { else -> changed = (i < FILES); i = 0; break }
  od
}

/* From wherever it stands; the place alone tells what has to come back. */
inline swap_back() {
  do
  :: atomic { i < FILES -> if :: done[i] -> file[i] = before[i]; done[i] = false :: else -> skip fi; i++ }
  :: atomic { else -> i = 0; break }
  od
}

/* Without a journal, what lies in the place is litter. */
inline clean_up() {
  atomic {
    journal = none; apply_runs = 0; journal_attempt = 0; waited = 0; owner_waits = false; changed = false;
    before[0] = NOTHING; before[LAST] = NOTHING; done[0] = false; done[LAST] = false;
    assert(IS_BACK(0) && IS_BACK(LAST));
    owed[0] = NOTHING; owed[LAST] = NOTHING
  }
}

/* A command for what is in place: passes or fails. While it runs nobody knows what the program has. */
inline run_apply() {
  loaded = NOTHING;
  if
  :: atomic { passed = true; loaded = (IN_PLACE(file[0]) -> file[0] : NOTHING) }
  :: skip
  fi
}

proctype Owner() {
  byte i;
  byte asked;
  bool changed, passed;
start:
  {
    if
    :: journal == none -> goto idle
    :: journal == rolling_back -> goto back
    :: journal == committed -> goto clean
#ifdef TARGET_FOR_PLACE
    :: IS_UNDECIDED && !HAS(NEW) -> goto unswapped
#else
    /* A kill has ended the swap in its middle, and no command has seen any of it. */
    :: IS_UNDECIDED && !IS_SWAPPED -> goto unswapped
#endif
#if FILES == 1
    /* Somebody has removed what was swapped in. With method files only the digest and the time tell. */
    :: IS_UNDECIDED && IS_SWAPPED && !IN_PLACE(NEW) -> goto begin_back
#endif
    :: else ->
#ifndef NO_BOOT_LIMIT
       waited++;
       if
       :: waited >= STARTS -> goto begin_back
       :: else -> skip
       fi;
#endif
       owner_waits = true;
       goto undecided
    fi;
idle:
    assert(WHOLE && journal == none);
    assert(!HAS(NEW) || ever_confirmed);
end_idle:
    if
    :: ask?stage(asked) ->
#ifdef UNNOTED_SWAP
       file[0] = NEW;
#endif
       atomic {
         before[0] = file[0]; before[LAST] = file[LAST];
         journal = staged; journal_attempt = asked; asked = 0; owner_waits = true
       };
       swap();
       if
       :: !changed -> answer!yes; goto undecided
       :: else -> goto unswapped_and_say
       fi
    :: ask?carry_out(_) -> answer!no; goto idle
    :: ask?commit(_) -> answer!no; goto idle
    :: ask?give_up(_) -> answer!no; goto idle
    fi;
unswapped_and_say: /* Somebody was faster: the set is built anew. */
    swap_back();
    clean_up();
    answer!no;
    goto idle;
unswapped:
#ifndef TARGET_FOR_PLACE
    swap_back();
#endif
    clean_up();
    goto idle;
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
          run_apply();
          if
          :: passed -> atomic { passed = false; journal = applied }; answer!yes
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
    atomic { journal = committed; owed[0] = NOTHING; owed[LAST] = NOTHING };
    answer!yes;
    goto clean;
#ifdef COMMIT_UNCONFIRMED
settle_new:
    atomic { journal = committed; owed[0] = NOTHING; owed[LAST] = NOTHING };
#endif
clean:
    atomic { owner_waits = false; record = NEW; noted = false };
    clean_up();
    goto idle;
begin_back_and_say:
    journal = rolling_back;
    answer!no;
    goto back;
begin_back:
    journal = rolling_back;
back:
    owner_waits = false;
    swap_back();
    if
    /* Not when the target was missing. */
    :: apply_runs > 0 && (before[0] != NOTHING || before[LAST] != NOTHING) ->
       run_apply();
       if
       :: passed -> passed = false
#ifndef STALE_RECORD
       :: else -> record = NOTHING
#else
       :: else -> skip
#endif
       fi
    :: else -> skip
    fi;
    noted = true;
    clean_up();
    goto idle
  } unless {
    atomic { kill_owner -> kill_owner = false; owner_waits = false; i = 0; asked = 0; changed = false; passed = false };
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
    heard = state; told = (journal == none -> DECLARED : NOTHING); removed_since = false
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
       goto stage_set
    :: heard == working && journal != none && journal != rolling_back && journal != committed &&
       journal_attempt == attempt -> goto apply
    :: heard == working && journal == none && noted ->
end_report:
       atomic { up -> noted = false; state = (state == working -> rolled_back : state) };
       goto over
    :: heard == working && journal == none && !noted -> goto stage_set
    :: heard == confirmed && journal == applied -> goto settle
#ifdef FORGETS_WHAT_IT_TOLD
    :: heard == confirmed && journal == none ->
#else
    :: heard == confirmed && journal == none && told == NEW ->
#endif
       /* A person reads "confirmed", exit code 0. */
       atomic { assert((IN_PLACE(NEW) || removed_since) && loaded == NEW) };
       goto over
    :: heard == canceled || heard == rolled_back || heard == rollback_failed ->
       ask!give_up(0); answer?_;
       goto over
    :: else -> /* Something of another attempt lies there: the server does not wait for it. */
       ask!give_up(0); answer?_;
       goto again
    fi;
stage_set:
    ask!stage(attempt);
    if
    :: answer?yes -> goto apply
    :: answer?no -> goto again
    fi;
apply:
#ifndef CONFIRM_BEFORE_APPLY
    ask!carry_out(attempt);
    if
    :: answer?yes
    :: answer?no -> goto end_failed
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
#ifndef CONFIRMS_UNREAD
      if
      :: !IN_PLACE(NEW) -> goto differs
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
differs:
    ask!give_up(0); answer?_;
end_failed:
    atomic { up -> noted = false; state = (state == working -> rolled_back : state) };
    goto over;
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

inline remove(n) {
  owed[n] = (done[n] && journal != committed -> before[n] : NOTHING);
  file[n] = NOTHING
}

active proctype World() {
end_world:
  do
  :: atomic { kills > 0 && !kill_owner && !kill_session -> kills--; kill_owner = true; kill_session = true }
#ifdef BAD_SET
  :: atomic { owner_waits && IS_UNDECIDED && IS_SWAPPED && !kill_owner && !kill_session ->
     kill_owner = true; kill_session = true }
#endif
  :: atomic { outages > 0 && up -> outages--; up = false; if :: comes_back = true :: skip /* Away for ever. */ fi }
  :: atomic { comes_back -> comes_back = false; up = true }
  :: atomic { may_abort && (state == offered || state == working) -> may_abort = false; state = canceled }
  /* The machine comes back from a snapshot of before. */
  :: atomic { may_restore && journal == none && !owner_waits && !kill_owner && !kill_session && empty(confirmation) ->
     may_restore = false; file[0] = OLD; file[LAST] = OLD; record = OLD; loaded = OLD; noted = false;
     kill_owner = true; kill_session = true }
  /* Somebody removes the target, or a file of it. */
  :: atomic { removals > 0 ->
     if
     :: remove(0)
#if FILES > 1
     :: remove(LAST)
     :: remove(0); remove(LAST)
#endif
     fi;
     removals--; removed_since = true }
  od
}

init {
  atomic { file[0] = OLD; file[LAST] = OLD; run Owner(); run Session() }
}

/* To be refuted: else the model would hold for want of a good run. */
ltl never_new { [] !(IN_PLACE(NEW) && state == confirmed && journal == none) }
