# Sourced by the programs in this folder. Not to be run.
# shellcheck shell=bash

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck disable=SC2034  # for those who source this
tools_cache=${PARLEY_TOOLS:-$HOME/.cache/parley/tools}

say() { printf '%s\n' "$*"; }
fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

# Bazel in this workspace. PARLEY_OUTPUT_BASE keeps a second set of outputs apart from the first.
run_bazel() {
  local startup=()
  [ -z "${PARLEY_OUTPUT_BASE:-}" ] || startup=(--output_base="$PARLEY_OUTPUT_BASE")
  (cd "$root" && bazel "${startup[@]}" "$@")
}

# Builds targets and leaves .tools/bin pointing at what was built.
build() {
  run_bazel build "$@"
  mkdir -p "$root/.tools"
  ln -sfn "$(run_bazel info bazel-bin 2>/dev/null)" "$root/.tools/bin"
}
