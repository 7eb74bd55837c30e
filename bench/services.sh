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

# Starts a service with its data in the folder, and waits until it says on its standard error that it serves. Sets
# `pid`.
#   start taskd taskd --listen …
start() {
  local log name=$1 folder=$data/$2
  mkfifo "$folder.log"
  "$programs/services/$name/$name" --data "$folder" "${@:3}" 2>"$folder.log" &
  pid=$!
  started+=("$pid")
  exec {log}<"$folder.log"
  while read -r -u "$log" line; do
    case $line in
      *'"message":"serving"'*)
        # Goes on reading, so that the service never waits for its log.
        cat <&"$log" >"$folder.rest" &
        return 0
        ;;
      *'"level":"error"'*) say "$line" >&2 ;;
    esac
  done
  fail "$name does not start"
}

# Starts an etcd of one member and waits until it serves. Sets `etcd` to what --store takes.
start_etcd() {
  local url
  url=http://127.0.0.1:$(free_port)
  etcd --data-dir "$data/etcd" --listen-client-urls "$url" --advertise-client-urls "$url" \
    --listen-peer-urls "http://127.0.0.1:$(free_port)" --quota-backend-bytes $((8 << 30)) --log-level error \
    >"$data/etcd.log" 2>&1 &
  started+=("$!")
  etcd=etcd:$url
  # Waits for the member by itself.
  ETCDCTL_API=3 etcdctl --endpoints "$url" --dial-timeout 60s --command-timeout 60s endpoint health >/dev/null 2>&1 ||
    fail "etcd does not start: $(cat "$data/etcd.log")"
}

free_port() {
  /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
