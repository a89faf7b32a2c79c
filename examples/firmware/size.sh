#!/usr/bin/env bash
# What the crate costs on a Cortex-M0, optimised for size: flash (code and constants) and RAM (data, and the deepest stack, in which
# the node with its frame buffers lies), in bytes, as the difference to the same firmware without the crate.
#
#   size.sh           prints a table, with the change since size.json was saved
#   size.sh --speed   prints a table for the feature `speed`; the change is what that costs
#   size.sh --json    prints one object
#   size.sh --stack   prints the calls that make the deepest stack
#   size.sh --where   prints where the flash goes, and who calls helpers such as divisions
#   size.sh --save    writes size.json
#   size.sh --check   fails if anything is larger than size.json says
#
# With Debian's compiler, which comes with the source of core: rustc-web cargo-web rust-web-src rust-web-llvm lld-22 llvm-22.
set -euo pipefail
mode=${1:---table}
case $mode in
--table | --speed | --json | --stack | --where | --save | --check) ;;
*)
  sed -n '5,11s/^# *//p' "$0" >&2
  exit 2
  ;;
esac
cd "$(dirname "$0")/size"
# Only a development compiler may build core; RUSTC_BOOTSTRAP says that this one may.
export PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 RUSTFLAGS="-Z emit-stack-sizes"
unset RUSTUP_TOOLCHAIN CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO_BUILD_TARGET
features=
if [ "$mode" = --speed ]; then
  features=speed mode=--table
fi
/usr/bin/cargo build --quiet --locked --release --features "$features" --target-dir target --target thumbv6m-none-eabi -Z build-std=core
programs=target/thumbv6m-none-eabi/release
if [ "$mode" = --where ]; then
  for program in server client both; do
    python3 ../measure/where.py "$programs/$program"
  done
  exit
fi
python3 ../measure/size.py "$programs" ../size.json "$mode"
