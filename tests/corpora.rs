//! The inputs that fuzzing has found worth keeping, replayed: all targets of `fuzz/` hold for each of them.

#[allow(dead_code, missing_docs)] // The tests replay all of it; each target uses a part.
#[path = "../fuzz/src/lib.rs"]
mod fuzz;

use std::fs;
use std::path::Path;

fn replay(name: &str) {
    let (_, run) = fuzz::TARGETS.iter().find(|(target, _)| *target == name).expect("a target");
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let mut inputs = fs::read_dir(corpus).expect("a corpus").map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
    inputs.sort();
    assert!(inputs.len() >= 50, "{} inputs", inputs.len());
    for path in inputs {
        let data = fs::read(&path).unwrap();
        // Tells which it is if it fails.
        println!("{}", path.display());
        run(&data);
    }
}

macro_rules! replayed {
    ($($target:ident)*) => { $( #[test] fn $target() { replay(stringify!($target)); } )* };
}

replayed! { deframe decode_packet hello endpoint_hostile_peer endpoint_pair typed_dispatch roundtrip }
