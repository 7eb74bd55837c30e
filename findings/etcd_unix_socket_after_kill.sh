#!/bin/bash
# Debian's etcd 3.4.23 that listens at a unix socket does not start again after it was killed.
#
# A good guess says: a database that is built to be killed takes its socket back, as a server at a TCP port does and as
# daemons with unix sockets mostly do, by removing what a dead process has left, or by a lock beside it. etcd even names
# such sockets like ports (unix://localhost:4), and locks its data folder, so a second etcd could not be meant.
#
# What happens: the file stays, and the next start ends at once with exit code 1 and "bind: address already in use",
# though nobody listens there and the data are whole. Whoever supervises it starts it again and again in vain. Once the
# file is removed, it starts, with everything that was acknowledged.
#
# Seen: "listen unix localhost:4: bind: address already in use", exit code 1; then the value that was put before.
set -eu
work=$(mktemp -d)
chmod 755 "$work"
trap 'kill -9 $pid 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
for package in etcd-server etcd-client; do
  apt-get download "$package=3.4.23-4+b4" >log 2>&1 || { cat log; exit 77; }
done
for package in *.deb; do dpkg -x "$package" root; done

start() {
  root/usr/bin/etcd --data-dir data --listen-client-urls unix://localhost:4 --advertise-client-urls unix://localhost:4 \
    --listen-peer-urls unix://localhost:5 --initial-advertise-peer-urls unix://localhost:5 \
    --initial-cluster default=unix://localhost:5 >>etcd.log 2>&1 &
  pid=$!
}
client() {
  ETCDCTL_API=3 root/usr/bin/etcdctl --endpoints unix://localhost:4 --dial-timeout 20s "$@"
}

start
[ "$(client put key value)" = OK ]
kill -9 $pid
wait $pid 2>/dev/null || true
[ -S localhost:4 ] && [ -S localhost:5 ]

start
code=0
wait $pid || code=$?
grep -o 'listen unix localhost:[45]: bind: address already in use' etcd.log | head -1
echo "exit code $code"
[ $code = 1 ]

rm -f localhost:4 localhost:5
start
[ "$(client get --print-value-only key)" = value ]
echo "started again, and has the value"
