#!/usr/bin/env bash
# Fuzzes each target for so many seconds, two at a time: fuzz/run.sh [--host] SECONDS [TARGET…]. With --host the endpoints are those
# of hosts (the feature `std`), else those of boards. Needs a nightly toolchain and cargo-fuzz.
set -euo pipefail
cd "$(dirname "$0")"

features=
if [ "${1-}" = --host ]; then
  features=std
  shift
fi
seconds=${1:?seconds for each target}
shift
if [ $# -eq 0 ]; then
  mapfile -t all < <(cargo +nightly fuzz list)
  set -- "${all[@]}"
fi

# The crate has no unsafe code, so a sanitizer has nothing to find, and without one more is run.
cargo +nightly fuzz build -s none --features "$features"

# What is found on the way stays out of the corpus that is committed.
fuzz() {
  local found max_len=300
  # A run of two endpoints takes a thousand choices.
  [ "$1" != endpoint_pair ] || max_len=1500
  found=$(mktemp -d)
  if cargo +nightly fuzz run -s none --features "$features" "$1" "$found" "corpus/$1" -- \
    -max_total_time="$seconds" -max_len="$max_len" -print_final_stats=1 >"$found.log" 2>&1; then
    printf '%s: %s executions\n' "$1" "$(sed -n 's/^stat::number_of_executed_units: *//p' "$found.log")"
    rm -r "$found" "$found.log"
  else
    tail -60 "$found.log"
    printf '%s failed\n' "$1"
    return 1
  fi
}
export -f fuzz
export seconds features
printf '%s\n' "$@" | xargs -P 2 -I {} bash -c 'fuzz {}'
