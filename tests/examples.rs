//! The examples, run as a newcomer runs them. Each of them checks its own promise, and says so by its exit status.

#[cfg(unix)]
#[path = "../examples/shared/pty.rs"]
mod pty;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, fs, process, thread};

/// Far more than any of them needs.
const PATIENCE: Duration = Duration::from_secs(120);

/// Lines that examples print, in this order, by their beginnings.
const STORIES: [(&str, &[&str]); 6] = [
    ("blocking_serial", &["The device has paid out"]),
    (
        "device_calls_host",
        &[
            "The host has asked the door to open 60 times: 30 were let in, 30 were not.",
            "Meanwhile the door has asked the host",
            "It has reported 30 who have entered",
            "It publishes its temperature: 21 degrees.",
        ],
    ),
    (
        "rs485",
        &["Each board has called the other 200 times: 200 and 200 calls are ok.", "Their motors stand at 200 and 200."],
    ),
    (
        "schema_change",
        &[
            "old host, old firmware, effects: 3",
            "old host, new firmware, effects: 1",
            "    Switch    ok",
            "    SetTarget SchemaMismatch, executed: no",
            "    Calibrate SchemaMismatch, executed: no",
            "new host, old firmware, effects: 1",
            "    Switch    ok",
            "    SetTarget SchemaMismatch, executed: no",
            "    Boost     SchemaMismatch, executed: no",
            "new host, new firmware, effects: 3",
        ],
    ),
    (
        "tokio_client",
        &[
            "The dispenser has answered: Empty",
            "It has 100 coins.",
            "Eight tasks have called at once: 36 coins of 36 are paid out.",
            "The cable is pulled.",
            "It is plugged in again.",
            "    PortRestored",
            "    Endpoint(Connected)",
        ],
    ),
    ("udp_server", &["20 clients have met the server.", "0 balances were not what the client had paid in."]),
];

/// An example's program, built as this test was.
fn example(name: &str) -> Command {
    static EXAMPLES: OnceLock<PathBuf> = OnceLock::new();
    let examples = EXAMPLES.get_or_init(|| {
        // <target>/<profile>/deps/<this test>
        let profile_dir = env::current_exe().unwrap().ancestors().nth(2).unwrap().to_owned();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--examples", "--target-dir"]).arg(profile_dir.parent().unwrap());
        build.current_dir(env!("CARGO_MANIFEST_DIR"));
        if profile_dir.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().unwrap().success(), "the examples do not build");
        profile_dir.join("examples")
    });
    Command::new(examples.join(name))
}

/// A program that is running, and killed when this is dropped.
struct Running {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Running {
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// The next line that it prints.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.as_mut().unwrap().read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    /// What it prints until its end, which must be a good one.
    fn finish(mut self) -> String {
        let mut stdout = self.stdout.take().unwrap();
        let reader = thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        let since = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(since.elapsed() < PATIENCE, "the example does not end");
            thread::sleep(Duration::from_millis(10));
        };
        let text = reader.join().unwrap().unwrap();
        assert!(status.success(), "{status}\n{text}");
        text
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

fn assert_tells(text: &str, lines: &[&str]) {
    let mut told = text.lines();
    for line in lines {
        assert!(told.any(|told| told.starts_with(line)), "{line:?} is not where it should be:\n{text}");
    }
}

#[test]
fn each_example_keeps_its_promise_and_tells_its_story() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = fs::read_dir(examples).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: BTreeSet<_> = files.filter_map(|file| file.strip_suffix(".rs").map(str::to_owned)).collect();
    // It waits for a client: see below.
    assert!(names.remove("tokio_device"));
    for name in &names {
        let story = STORIES.iter().find(|(told_by, _)| told_by == name);
        assert_tells(&Running::start(&mut example(name)).finish(), story.map_or(&[], |(_, lines)| lines));
    }
    assert!(STORIES.iter().all(|(name, _)| names.contains(*name)), "{names:?}");
}

/// Runs `tokio_device`, and then `tokio_client` where the device says that it waits, or at another address.
fn meet(device: &str, client: Option<&str>) {
    let mut device = Running::start(example("tokio_device").arg(device));
    let waits = device.line();
    let address = client.or_else(|| waits.strip_prefix("Waiting for: tokio_client ")).expect("an address");
    let text = Running::start(example("tokio_client").arg(address)).finish();
    let paid = "Eight tasks have called at once: 36 coins of 36 are paid out.";
    assert_tells(&text, &[paid, "36 coins are missing in the dispenser."]);
    let last = "The client is gone. 64 coins are left.";
    assert_tells(&device.finish(), &["    Endpoint(Connected)", "    Endpoint(Disconnected", last]);
}

#[test]
fn tokio_client_and_tokio_device_meet_over_tcp() {
    meet("127.0.0.1:0", None);
}

#[cfg(unix)]
#[test]
fn tokio_client_and_tokio_device_meet_over_a_unix_socket() {
    let path = env::temp_dir().join(format!("dispenser-{}.socket", process::id()));
    meet(&format!("unix:{}", path.to_str().unwrap()), None);
}

#[cfg(unix)]
#[test]
fn tokio_client_and_tokio_device_meet_over_a_serial_line() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let ((mut a, device), (mut b, client)) = runtime.block_on(async { (pty::pty().unwrap(), pty::pty().unwrap()) });
    runtime.spawn(async move {
        // The client closes its end first; the device still has to hear that.
        _ = tokio::io::copy_bidirectional(&mut a, &mut b).await;
        std::future::pending::<()>().await;
    });
    meet(device.to_str().unwrap(), client.to_str());
}
