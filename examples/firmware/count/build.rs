//! Tells the linker where the memory is.

use std::path::Path;
use std::{env, fs};

/// QEMU's lm3s6965evb.
const ARM: &str = "MEMORY { FLASH : ORIGIN = 0x00000000, LENGTH = 256K RAM : ORIGIN = 0x20000000, LENGTH = 64K }\n";

/// QEMU's `virt`.
const RISCV: &str = "MEMORY { RAM : ORIGIN = 0x80000000, LENGTH = 1M }
REGION_ALIAS(\"REGION_TEXT\", RAM);
REGION_ALIAS(\"REGION_RODATA\", RAM);
REGION_ALIAS(\"REGION_DATA\", RAM);
REGION_ALIAS(\"REGION_BSS\", RAM);
REGION_ALIAS(\"REGION_HEAP\", RAM);
REGION_ALIAS(\"REGION_STACK\", RAM);
";

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let is_arm = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets it") == "arm";
    fs::write(Path::new(&out).join("memory.x"), if is_arm { ARM } else { RISCV }).expect("the directory is there");
    println!("cargo:rustc-link-search={out}");
    if !is_arm {
        println!("cargo:rustc-link-arg=-Tmemory.x");
    }
    println!("cargo:rustc-link-arg=-Tlink.x");
    // Code that is left out would be taken for the code at address 0.
    println!("cargo:rustc-link-arg=-zdead-reloc-in-nonalloc=.debug_*=0xffffffff");
}
