//! Tells the linker where the memory is.

use std::path::Path;
use std::{env, fs};

fn main() {
    let out = env::var("OUT_DIR").expect("cargo sets it");
    let memory =
        "MEMORY {\n  FLASH : ORIGIN = 0x00000000, LENGTH = 256K\n  RAM : ORIGIN = 0x20000000, LENGTH = 16K\n}\n";
    fs::write(Path::new(&out).join("memory.x"), memory).expect("the directory is there");
    println!("cargo:rustc-link-search={out}");
    println!("cargo:rustc-link-arg=-Tlink.x");
    // Code that is left out would be taken for the code at address 0, and `where.py` would count it.
    println!("cargo:rustc-link-arg=-zdead-reloc-in-nonalloc=.debug_*=0xffffffff");
}
