#!/bin/sh
# Checks the models in this folder with spin: every promise holds, and each deliberately weakened variant fails, so
# that a model which cannot fail is noticed. Needs spin and gcc; takes about a minute. Exit code 0 when all is well.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

# check <expectation> <model> <mode> [-Dname…]
#   expectation: holds, or the words that spin's report of a failure must have.
#   mode: safety (assertions, deadlock), ends (no run goes on for ever), or the name of an ltl formula.
check() {
  expectation=$1 model=$2 mode=$3
  shift 3
  dir=$(mktemp -d "$work/XXXXXX")
  cd "$dir"
  case $mode in
    safety) compile="-DSAFETY -DNOCLAIM" run="" ;;
    ends) compile="-DNP -DNOCLAIM" run="-l" ;;
    *) compile="-DNOFAIR" run="-a -N $mode" ;;
  esac
  # Partial order reduction does not know what an `unless` around a rendezvous does.
  if grep -q unless "$here/$model.pml"; then compile="$compile -DNOREDUCE"; fi
  name="$model $mode $*"
  # shellcheck disable=SC2086
  if ! { spin -a "$@" "$here/$model.pml" && gcc -O1 -w $compile -DCOLLAPSE -o pan pan.c; } >log 2>&1; then
    cat log
    echo "FAIL  $name: does not compile"
    return 1
  fi
  # shellcheck disable=SC2086
  ./pan -m1000000 $run >out 2>&1 || true
  if grep -q "max search depth too small" out; then
    echo "FAIL  $name: not searched in full"
    return 1
  fi
  states=$(sed -n 's/^ *\([0-9]*\) states, stored.*/\1/p' out)
  if [ "$expectation" = holds ]; then
    if ! grep -q "errors: 0$" out || grep -q "Search not completed" out; then
      cat out
      spin -t -k "$model.pml.trail" -p "$@" "$here/$model.pml" 2>/dev/null | tail -60 || true
      echo "FAIL  $name"
      return 1
    fi
    echo "ok    $name: holds in all $states states"
  else
    if ! grep -q "$expectation" out; then
      cat out
      echo "FAIL  $name: this weaker variant must fail with \"$expectation\""
      return 1
    fi
    echo "ok    $name: fails, as it must"
  fi
}

sas() {
  check holds sas safety
  check holds sas ends
  check "assertion violated" sas never_enrols
  for weakness in NO_COMMITMENT NO_COMPARISON NO_ORDER NO_CONFIRMATION SILENT_RETRY; do
    check "assertion violated" sas safety -D$weakness
  done
  check "invalid end state" sas safety -DNO_PATIENCE
}

relay() {
  check holds relay safety -DSECOND=3
  check holds relay safety -DSECOND=1
  check holds relay ends -DFAULTS=1
  check "assertion violated" relay never_enrols -DFAULTS=0
  for weakness in NO_ATTEMPT_CHECK NO_STEP_CHECK LATE_TAKEOVER REOPEN; do
    check "assertion violated" relay safety -D$weakness
  done
  check "invalid end state" relay safety -DNO_LEASE
}

update() {
  check holds update safety -DKILLS=1
  check holds update safety -DFILES=2
  check holds update safety -DKILLS=0 -DBAD_SET -DFILES=2
  check holds update safety -DREMOVALS=1 -DKILLS=0
  check holds update safety -DREMOVALS=1 -DKILLS=1 -DOUTAGES=0
  check holds update safety -DREMOVALS=1 -DKILLS=1 -DOUTAGES=0 -DFILES=2
  check holds update ends -DKILLS=1
  check holds update ends -DKILLS=0 -DBAD_SET
  check holds update ends -DREMOVALS=1 -DKILLS=0 -DOUTAGES=0 -DFILES=2
  check "assertion violated" update never_new -DKILLS=0
  for weakness in CONFIRM_BEFORE_APPLY COMMIT_UNCONFIRMED MEMORY_FOR_DISK STALE_RECORD FORGETS_WHAT_IT_TOLD \
    UNNOTED_APPLY; do
    check "assertion violated" update safety -D$weakness -DKILLS=1
  done
  check "assertion violated" update safety -DUNNOTED_SWAP -DFILES=2 -DKILLS=1
  check "assertion violated" update safety -DCONFIRMS_UNREAD -DREMOVALS=1 -DKILLS=0
  check "assertion violated" update safety -DTARGET_FOR_PLACE -DREMOVALS=1 -DKILLS=1
  check "invalid end state" update safety -DJOURNAL_IN_SESSION -DKILLS=1
  check "non-progress cycle" update ends -DNO_BOOT_LIMIT -DBAD_SET -DKILLS=0
}

(sas) &
sas=$!
(relay) &
relay=$!
(update) &
update=$!
wait "$sas" || failed=1
wait "$relay" || failed=1
wait "$update" || failed=1
exit "${failed:-0}"
