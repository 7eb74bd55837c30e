# Two builds beside each other. Sourced after tools/common.sh.
# shellcheck shell=bash

# Takes `--against CHECKOUT` and `--rounds N` out of the arguments: builds the targets in that checkout, and sets
# `turns` to the options of rounds.py that say so. `arguments` has what is left.
#   take_turns "//services/keyd //services/taskd" "$@"
take_turns() {
  local targets checkout
  read -ra targets <<<"$1"
  shift
  # shellcheck disable=SC2034  # for those who source this
  arguments=() turns=()
  while [ $# -gt 0 ]; do
    case $1 in
      --against)
        checkout=$(cd "${2:?--against needs a folder}" && pwd)
        (cd "$checkout" && bazel build "${targets[@]}")
        turns+=(--earlier "$(cd "$checkout" && bazel info bazel-bin 2>/dev/null)")
        shift
        ;;
      --rounds)
        turns+=(--rounds "${2:?--rounds needs a number}")
        shift
        ;;
      *) arguments+=("$1") ;;
    esac
    shift
  done
}
