#!/bin/sh
# The files of known answers are what the programs beside them make.
set -eu
cd "$(dirname "$0")"
made=$(mktemp)
trap 'rm -f "$made"' EXIT
for program in make_*_vectors.py; do
  name=${program#make_}
  name=${name%_vectors.py}
  python3 -B "$program" >"$made"
  cmp "$made" "$name.json"
done
