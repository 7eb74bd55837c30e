# Services for a measurement, on free ports and in a folder that goes away. Sourced after tools/common.sh.
# shellcheck shell=bash

# Those of this checkout, or those that are measured.
programs=${PARLEY_PROGRAMS:-${root:?}/.tools/bin}
data=$(mktemp -d)
started=()
cleanup() {
  local i
  # The newest first.
  for ((i = ${#started[@]} - 1; i >= 0; --i)); do
    kill "${started[i]}" 2>/dev/null || true
    wait "${started[i]}" || true
  done
  rm -rf "$data"
}
trap cleanup EXIT

# Starts a service and waits until it says on its standard error that it serves. Sets `pid`.
start() {
  local log
  mkfifo "$data/$1.log"
  "$programs/services/$1/$1" --data "$data/$1" "${@:2}" 2>"$data/$1.log" &
  pid=$!
  started+=("$pid")
  exec {log}<"$data/$1.log"
  while read -r -u "$log" line; do
    case $line in
      *'"message":"serving"'*)
        # Goes on reading, so that the service never waits for its log.
        cat <&"$log" >"$data/$1.rest" &
        return 0
        ;;
      *'"level":"error"'*) say "$line" ;;
    esac
  done
  fail "$1 does not start"
}

free_port() {
  /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
