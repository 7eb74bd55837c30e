/* Enrolment by short authentication strings, with the attacker as the network (docs/protocol/sas.md).
 *
 * Symbolic: a key, nonce or commitment is a name, and what a side receives is any that the attacker can have at
 * that moment. Two codes are equal when both sides saw the same, or when the attacker could solve for a nonce that
 * makes them so, for which it must know everything else that either side's codes depend on. A lucky guess, 2^-20,
 * is outside the model; that it is one guess is inside: `tries`.
 *
 * Checked: nobody trusts the attacker's key, and when both trust, both saw the same (assertions); no deadlock;
 * every run ends (no cycle). A model that cannot fail proves nothing, so check.sh also demands that each of these weaker
 * variants does fail:
 *   NO_COMMITMENT     the greeter does not compare nonce and commitment
 *   NO_COMPARISON     people pick without listening
 *   NO_ORDER          the claimer reveals its nonce before it has the greeter's
 *   NO_CONFIRMATION   the greeter does not wait for the claimer's choice, nor the claimer for the greeter's
 *   SILENT_RETRY      a client starts over by itself after a nonce was out
 *   NO_PATIENCE       a side waits for ever for a message that does not come
 */

#define MAX_SUSPECTED 3
#define ATTEMPTS 4 /* More than that, so that the rules and not the model stop the attacker. */

/* Names. Honest keys and nonces are fresh at each attempt n. */
#define NONE 0
#define OWN 1 /* The attacker's key, or a nonce that it chose. */
#define SOLVED 2 /* A nonce that it chose so that the codes match. */
#define KEY_G(n) (10 + n)
#define KEY_C(n) (20 + n)
#define NONCE_G(n) (30 + n)
#define NONCE_C(n) (40 + n)

mtype = { idle, keyed, committed, nonce_out, choosing, picked, confirmed, trusting, over };

/* What the attacker has heard of the attempts that are under way. What it heard in older ones is of no more use than
 * what it makes itself: it holds no key for it, and no side has that nonce any more. */
bool heard_nonce_g, heard_nonce_c;

/* The greeter's view. */
mtype g = idle;
byte g_attempt, g_peer, g_nonce_c;
byte g_commit_nonce, g_commit_key_c, g_commit_key_g;
/* The claimer's view. */
mtype c = idle;
byte c_attempt, c_peer, c_nonce_g;
/* The commitment that the claimer sent: its own nonce and key, and the greeter's key that it saw. */
byte c_commit_key_g;

/* Attempts that told the attacker whether codes match, since a person was last told of one. */
byte g_tries, c_tries;

/* What each side's person reads on the phone. */
#define C_READS (c == choosing || c == picked || c == confirmed)
#define G_READS (g == picked || g == confirmed)

#define SAME_VIEW \
  (g_attempt == c_attempt && g_peer == KEY_C(c_attempt) && c_peer == KEY_G(g_attempt) && \
   c_nonce_g == NONCE_G(g_attempt) && g_nonce_c == NONCE_C(c_attempt))
#define EQUAL_CODES (SAME_VIEW || g_nonce_c == SOLVED || c_nonce_g == SOLVED)

/* To solve for the last nonce of one side, the attacker must share a key with both and know the other three. */
#define IN_THE_MIDDLE (g_peer == OWN && c_peer == OWN)
#define G_CODES_SET (g == choosing || g == picked)
#define C_CODES_SET (c == choosing || c == picked)

/* Any commitment to a nonce that the attacker made, or the claimer's of this attempt, unseen inside. */
inline receive_commitment() {
  if
  :: g_commit_nonce = OWN; g_commit_key_c = g_peer; g_commit_key_g = KEY_G(g_attempt)
  :: c == committed || C_READS ->
     g_commit_nonce = NONCE_C(c_attempt); g_commit_key_c = KEY_C(c_attempt); g_commit_key_g = c_commit_key_g
  fi
}

inline receive_nonce_c() {
  if
  :: g_nonce_c = OWN
  :: heard_nonce_c -> g_nonce_c = NONCE_C(c_attempt)
  :: IN_THE_MIDDLE && C_CODES_SET && heard_nonce_c && heard_nonce_g -> g_nonce_c = SOLVED
  fi
}

inline receive_nonce_g() {
  if
  :: c_nonce_g = OWN
  :: heard_nonce_g -> c_nonce_g = NONCE_G(g_attempt)
  :: IN_THE_MIDDLE && G_CODES_SET && heard_nonce_c && heard_nonce_g -> c_nonce_g = SOLVED
  fi
}

/* The next message may never come: the person or a lease ends the wait. */
#ifdef NO_PATIENCE
#define OR_GIVE_UP
#else
#define OR_GIVE_UP :: true -> goto ended
#endif

proctype Greeter() {
  byte suspected = 0;
  bool nonce_is_out;
begin:
  if
  :: g_attempt == ATTEMPTS || suspected == MAX_SUSPECTED -> goto leave
  :: g_attempt < ATTEMPTS && suspected < MAX_SUSPECTED -> skip
  :: true -> goto leave /* The person has had enough. */
  fi;
  atomic {
    g_attempt++;
    g = keyed;
  }
  if
  :: atomic { g_peer = OWN }
  :: atomic { c != idle && c != over -> g_peer = KEY_C(c_attempt) }
  OR_GIVE_UP
  fi;
  if
  :: atomic { receive_commitment(); g = nonce_out; nonce_is_out = true; heard_nonce_g = true }
  OR_GIVE_UP
  fi;
  if
  :: atomic {
       receive_nonce_c();
#ifndef NO_COMMITMENT
       if
       :: g_commit_nonce == g_nonce_c && g_commit_key_c == g_peer && g_commit_key_g == KEY_G(g_attempt) -> skip
       :: else -> goto ended
       fi;
#endif
       g = choosing; g_tries++;
       assert(g_tries <= 1)
     }
  OR_GIVE_UP
  fi;
  if
#ifdef NO_COMPARISON
  :: C_READS -> g = picked
#else
  :: atomic { C_READS && EQUAL_CODES -> g = picked }
  :: C_READS && !EQUAL_CODES -> goto ended /* None of these: a person saw the mismatch. */
#endif
  OR_GIVE_UP
  fi;
#ifndef NO_CONFIRMATION
  if
  :: atomic { g_peer == OWN || ((c == picked || c == confirmed) && SAME_VIEW) -> g = confirmed } /* Its MAC is good. */
  OR_GIVE_UP
  fi;
#else
  g = confirmed;
#endif
  if
  :: atomic { g_peer == OWN || (c == confirmed && SAME_VIEW) -> g = trusting } /* Step 6 opens. */
  OR_GIVE_UP
  fi;
  atomic { assert(g_peer != OWN); assert(c != trusting || SAME_VIEW) }
  goto leave;
ended:
  atomic {
    g = idle;
    if
    :: nonce_is_out ->
       suspected++;
#ifndef SILENT_RETRY
       g_tries = 0 /* The person is told, and must say to go on. */
#endif
    :: else -> skip
    fi;
    g_peer = NONE; g_nonce_c = NONE; g_commit_nonce = NONE; g_commit_key_c = NONE; g_commit_key_g = NONE;
    nonce_is_out = false; heard_nonce_g = false
  }
  goto begin;
leave:
  atomic { if :: g != trusting -> g = over :: else fi }
}

proctype Claimer() {
  byte suspected = 0;
  bool nonce_is_out;
begin:
  if
  :: c_attempt == ATTEMPTS || suspected == MAX_SUSPECTED -> goto leave
  :: c_attempt < ATTEMPTS && suspected < MAX_SUSPECTED -> skip
  :: true -> goto leave
  fi;
  atomic {
    c_attempt++;
    c = keyed;
  }
  if
  :: atomic { c_peer = OWN; c_commit_key_g = c_peer; c = committed }
  :: atomic { g != idle && g != over -> c_peer = KEY_G(g_attempt); c_commit_key_g = c_peer; c = committed }
  OR_GIVE_UP
  fi;
#ifdef NO_ORDER
  heard_nonce_c = true;
#endif
  if
  :: atomic {
       receive_nonce_g();
       nonce_is_out = true; heard_nonce_c = true;
       c = choosing; c_tries++;
       assert(c_tries <= 1)
     }
  OR_GIVE_UP
  fi;
  if
#ifdef NO_COMPARISON
  :: G_READS -> c = picked
#else
  :: atomic { G_READS && EQUAL_CODES -> c = picked }
  :: G_READS && !EQUAL_CODES -> goto ended
#endif
#ifdef NO_CONFIRMATION
  :: true -> c = picked
#endif
  OR_GIVE_UP
  fi;
#ifndef NO_CONFIRMATION
  if
  :: atomic { c_peer == OWN || ((g == confirmed || g == trusting) && SAME_VIEW) -> c = confirmed }
  OR_GIVE_UP
  fi;
#else
  c = confirmed;
#endif
  if
  :: atomic { c_peer == OWN || (g == trusting && SAME_VIEW) -> c = trusting } /* Step 7 opens. */
  OR_GIVE_UP
  fi;
  atomic { assert(c_peer != OWN); assert(g != trusting || SAME_VIEW) }
  goto leave;
ended:
  atomic {
    c = idle;
    if
    :: nonce_is_out ->
       suspected++;
#ifndef SILENT_RETRY
       c_tries = 0
#endif
    :: else -> skip
    fi;
    c_peer = NONE; c_nonce_g = NONE; c_commit_key_g = NONE;
    nonce_is_out = false; heard_nonce_c = false
  }
  goto begin;
leave:
  atomic { if :: c != trusting -> c = over :: else fi }
}

init {
  atomic { run Greeter(); run Claimer() }
}

/* To be refuted: else the model would hold for want of a good run. */
ltl never_enrols { [] !(g == trusting && c == trusting) }
