#!/usr/bin/env bash
# Builds the firmware for all boards, into the directory given or ./target. With Debian's compiler, which comes with the
# source of core: rustc-web cargo-web rust-web-src rust-web-llvm lld-22 llvm-22.
set -euo pipefail
target=$(realpath -m "${1:-$(dirname "$0")/target}")
cd "$(dirname "$0")"
# Only a development compiler may build core; RUSTC_BOOTSTRAP says that this one may.
export PATH="/usr/bin:$PATH" RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
unset RUSTUP_TOOLCHAIN RUSTFLAGS CARGO_ENCODED_RUSTFLAGS RUSTC_WRAPPER RUSTC_WORKSPACE_WRAPPER CARGO_BUILD_TARGET

build() {
  local package=$1 triple=$2
  shift 2
  /usr/bin/cargo build --locked --release --target-dir "$target" --target "$triple" -Z build-std=core -p "$package" "$@"
}

build microbit thumbv6m-none-eabi
build lm3s6965evb thumbv7m-none-eabi
build lm3s-embassy thumbv7m-none-eabi
build riscv-virt riscv32imac-unknown-none-elf
# The same firmware, which tells all that happens on its link; next to the other of that name.
DEFMT_LOG=trace build lm3s6965evb thumbv7m-none-eabi --features defmt \
  -Z unstable-options --artifact-dir "$target/thumbv7m-none-eabi/release/told"
