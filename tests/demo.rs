//! The demo, run as a newcomer runs it, with fewer calls.

use std::collections::HashMap;
use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The example's program, built as this test was.
fn demo() -> &'static Path {
    static DEMO: OnceLock<PathBuf> = OnceLock::new();
    DEMO.get_or_init(|| {
        // <target>/<profile>/deps/<this test>
        let profile_dir = env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "demo", "--target-dir"]).arg(profile_dir.parent().unwrap());
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile_dir.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the example does not build");
        profile_dir.join("examples/demo")
    })
}

fn run(args: &[&str]) -> Output {
    Command::new(demo()).args(args).output().unwrap()
}

/// The members of the one object that `--json` prints.
fn figures(output: &Output) -> HashMap<String, u64> {
    let text = str::from_utf8(&output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "not one line: {output:?}");
    let members = text.trim().strip_prefix('{').and_then(|text| text.strip_suffix('}')).expect("an object");
    let members = members.split(',').map(|member| {
        let (name, value) = member.split_once(':').expect("a member");
        (name.trim_matches('"').to_owned(), value.parse().expect("a number"))
    });
    members.collect()
}

fn keeps_every_promise(mode: &[&str]) {
    let output = run(&[&["--calls", "200", "--json"], mode].concat());
    let figures = figures(&output);
    let sum: u64 = ["ok", "failed_no", "failed_maybe", "abandoned"].iter().map(|outcome| figures[*outcome]).sum();
    assert_eq!(figures["calls"], 200, "{output:?}");
    assert_eq!(sum, 200, "{output:?}");
    assert_eq!(figures["broken_promises"], 0, "{output:?}");
    assert_eq!(figures["duplicate_effects"], 0, "{output:?}");
    assert!(figures["effects"] >= figures["ok"], "{output:?}");
    assert!(figures["crashes"] > 0, "{output:?}");
    assert!(figures["retransmits"] > 0 && figures["wire_bytes"] > 0 && figures["elapsed_ms"] > 0, "{output:?}");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn demo_keeps_every_promise_over_a_pty() {
    keeps_every_promise(&[]);
}

#[test]
fn demo_keeps_every_promise_over_udp() {
    keeps_every_promise(&["--udp"]);
}

#[test]
fn demo_keeps_every_promise_when_the_caller_is_killed_too() {
    keeps_every_promise(&["--crash-client"]);
}

#[test]
fn demo_finds_a_promise_that_was_broken() {
    // The device counts its calls; killed too often it would not come to the tenth.
    let output = run(&["--calls", "50", "--json", "--crash-every", "0", "--break-promise"]);
    let figures = figures(&output);
    assert_eq!(figures["duplicate_effects"], 5, "{output:?}");
    assert!(figures["broken_promises"] > 0, "{output:?}");
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[test]
fn demo_refuses_bad_arguments() {
    for args in [["--loss", "101"], ["--loss", "x"], ["--calls", "0"], ["--in-flight", "33"], ["--frob", "1"]] {
        let output = run(&args);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
    }
}
