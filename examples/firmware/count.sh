#!/usr/bin/env bash
# How many instructions a call costs a device: a request of 8 bytes in, dispatched by its type, and a response of 8 bytes out, from the
# first byte that is given to the deframer to the last byte of the response's frame. Counted in an emulator, the same in every run.
#
#   count.sh           prints a table, with the change since count.json was saved
#   count.sh --json    prints one object
#   count.sh --where   prints what a call is spent on, by function
#   count.sh --save    writes count.json
#   count.sh --check   fails if anything takes more than count.json says
#
# `then` is what a driver does besides before it waits: time passes, no event, no further frame, the next deadline.
#
# With QEMU (qemu-system-arm qemu-system-misc), and Debian's compiler, which comes with the source of core: rustc-web cargo-web
# rust-web-src rust-web-llvm lld-22 llvm-22.
set -euo pipefail
mode=${1:---table}
case $mode in
--table | --json | --where | --save | --check) ;;
*)
  sed -n '5,9s/^# *//p' "$0" >&2
  exit 2
  ;;
esac
cd "$(dirname "$0")/count"
# Only a development compiler may build core; RUSTC_BOOTSTRAP says that this one may.
export PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1
unset RUSTUP_TOOLCHAIN RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO_BUILD_TARGET
for level in s 3; do
  for pace in plain speed; do
    features=
    [ $pace = plain ] || features=speed
    for target in thumbv7m-none-eabi riscv32imac-unknown-none-elf; do
      CARGO_PROFILE_RELEASE_OPT_LEVEL=$level /usr/bin/cargo build --quiet --locked --release --features "$features" \
        --target-dir target --target "$target" -Z build-std=core
      cp "target/$target/release/count" "target/$target-$level-$pace"
    done
  done
done
python3 ../measure/count.py target ../count.json "$mode"
