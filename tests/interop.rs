//! The wire, checked by a second implementation that was written from `PROTOCOL.md` alone: `tests/interop/`, in Python.

#![cfg(unix)]

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// Where the examples are, built as this test was.
fn examples() -> &'static Path {
    static EXAMPLES: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        // <target>/<profile>/deps/<this test>
        let profile_dir = env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--example", "demo", "--example", "tokio_device", "--target-dir"]);
        build.arg(profile_dir.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile_dir.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the examples do not build");
        profile_dir.join("examples")
    })
}

/// Runs a program of `tests/interop/`.
fn python(program: &str, args: &[&Path]) -> Output {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop").join(program);
    // Nothing is left behind in the source tree.
    Command::new("python3").arg("-B").arg(path).args(args).output().unwrap()
}

fn assert_success(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{}\n{told}{}", output.status, String::from_utf8_lossy(&output.stderr));
    told
}

/// A run of the demo: what passed on the wire, and what the demo says of it.
struct Captured {
    capture: PathBuf,
    summary: PathBuf,
}

impl Captured {
    fn of(name: &str, mode: &[&str]) -> Captured {
        let file = |kind| Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("interop-{name}.{kind}"));
        let captured = Captured { capture: file("capture"), summary: file("json") };
        let mut demo = Command::new(examples().join("demo"));
        let output = demo.args(["--json", "--capture"]).arg(&captured.capture).args(mode).output().unwrap();
        fs::write(&captured.summary, assert_success(&output)).unwrap();
        captured
    }

    fn decode(&self) -> Output {
        python("decode.py", &[&self.capture, &self.summary])
    }
}

fn is_accounted_for(name: &str, mode: &[&str]) {
    let told = assert_success(&Captured::of(name, &[&["--calls", "400"], mode].concat()).decode());
    assert!(told.contains(" calls on the wire, 0 complaints"), "{told}");
}

#[test]
#[ignore = "needs python3"]
fn every_message_of_the_demo_is_accounted_for() {
    is_accounted_for("pty", &[]);
}

#[test]
#[ignore = "needs python3"]
fn every_message_of_the_demo_is_accounted_for_over_udp() {
    is_accounted_for("udp", &["--udp"]);
}

#[test]
#[ignore = "needs python3"]
fn every_message_of_the_demo_is_accounted_for_when_both_sides_are_killed() {
    is_accounted_for("killed", &["--crash-client"]);
}

#[test]
#[ignore = "needs python3"]
fn a_sequence_that_wraps_is_accounted_for() {
    is_accounted_for("wraps", &["--in-flight", "1", "--crash-every", "0", "--loss", "1"]);
}

/// Changes the capture, the summary, or both, and says what the decoder complains of.
fn complaint(original: &Captured, change: impl Fn(&mut Vec<String>, &mut String)) -> String {
    let mut lines = fs::read_to_string(&original.capture).unwrap().lines().map(str::to_owned).collect();
    let mut summary = fs::read_to_string(&original.summary).unwrap();
    change(&mut lines, &mut summary);
    let [capture, told] = ["capture", "json"].map(|kind| original.capture.with_extension(format!("changed.{kind}")));
    fs::write(&capture, lines.join("\n")).unwrap();
    fs::write(&told, summary).unwrap();
    let output = Captured { capture, summary: told }.decode();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
#[ignore = "needs python3"]
fn the_decoder_finds_what_should_not_be_on_the_wire() {
    let original = Captured::of("tampered", &["--calls", "60", "--crash-every", "0"]);
    assert_success(&original.decode());
    let is_long = |line: &String, what: &str| line.contains(what) && line.len() > 40;

    // A frame whose bytes are not those of any packet.
    let told = complaint(&original, |lines, _| {
        let line = lines.iter_mut().filter(|line| is_long(line, "caller sent ")).nth(5).unwrap();
        let at = line.len() - 12;
        let other = if line.as_bytes()[at] == b'7' { "8" } else { "7" };
        line.replace_range(at..=at, other);
    });
    assert!(told.contains("frames of the caller mean nothing"), "{told}");

    // A packet that is sent again as it was.
    let told = complaint(&original, |lines, _| {
        // Behind its code byte a HELLO begins with its kind and its version.
        let is_hello = |line: &&String| line.split(' ').nth(3).is_some_and(|bytes| bytes[2..].starts_with("0101"));
        let packet = lines.iter().filter(|line| is_long(line, "device sent ")).find(|line| !is_hello(line)).unwrap();
        let at = lines.iter().position(|line| line == packet).unwrap();
        lines.insert(at, lines[at].clone());
    });
    assert!(told.contains("packet number"), "{told}");

    // Acks and answers of what has not come.
    let told = complaint(&original, |lines, _| lines.retain(|line| !line.contains("device got")));
    assert!(told.contains("which have not arrived"), "{told}");
    assert!(told.contains("answers what has not come"), "{told}");

    // Another story about what passed.
    let told = complaint(&original, |_, summary| *summary = summary.replace("\"ok\":", "\"ok\":1"));
    assert!(told.contains("ok: the demo says"), "{told}");
    let told = complaint(&original, |lines, _| lines.truncate(lines.len() / 2));
    assert!(told.contains("wire_bytes: the demo says"), "{told}");
}

#[test]
#[ignore = "needs python3"]
fn a_client_in_another_language_calls_devices() {
    let told = assert_success(&python("talk.py", &[examples()]));
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
#[ignore = "needs python3"]
fn both_implementations_agree_on_the_vectors() {
    let vectors = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors");
    let told = assert_success(&python("vectors.py", &[&vectors]));
    assert!(told.contains("records"), "{told}");
}
