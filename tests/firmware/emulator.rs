//! A board in QEMU: its port is one end of a Unix socket, its ledger a file, and it can be reset or killed.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{env, process, thread};

/// How long to wait for an emulator that does not come up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of the flash chip of the RISC-V machine, and of its first block.
const FLASH: u64 = 32 << 20;
const BLOCK: usize = 256 << 10;

/// A machine that QEMU knows, with the firmware for it.
#[derive(Clone, Copy, Debug)]
pub struct Board {
    pub firmware: &'static str,
    pub triple: &'static str,
    pub machine: &'static str,
}

pub const MICROBIT: Board = Board { firmware: "microbit", triple: "thumbv6m-none-eabi", machine: "microbit" };
pub const LM3S: Board = Board { firmware: "lm3s6965evb", triple: "thumbv7m-none-eabi", machine: "lm3s6965evb" };
pub const LM3S_EMBASSY: Board =
    Board { firmware: "lm3s-embassy", triple: "thumbv7m-none-eabi", machine: "lm3s6965evb" };
pub const RISCV: Board = Board { firmware: "riscv-virt", triple: "riscv32imac-unknown-none-elf", machine: "virt" };

/// The effect of one call, as the board has recorded it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Effect {
    pub number: u32,
    pub coins: u32,
}

/// A running emulator. It is killed when this is dropped.
pub struct Emulator {
    board: Board,
    dir: PathBuf,
    process: Child,
    monitor: BufReader<UnixStream>,
}

impl Emulator {
    /// Starts it for the first time, in a directory of its own; the other end of its port comes with it.
    pub fn start(board: Board) -> (Self, UnixStream) {
        static FIRMWARE: OnceLock<PathBuf> = OnceLock::new();
        let firmware = FIRMWARE.get_or_init(|| {
            remove_leftovers();
            build_firmware()
        });
        // Paths of sockets must be short.
        let dir = (0..).map(|n| env::temp_dir().join(format!("bowline-{}-{n}", process::id())));
        let dir = dir.into_iter().find(|dir| fs::create_dir(dir).is_ok()).expect("there is a name that is free");
        fs::copy(firmware.join(board.triple).join("release").join(board.firmware), dir.join("firmware"))
            .expect("the firmware was built");
        File::create(dir.join("ledger")).expect("the directory was just made");
        let mut flash = File::create(dir.join("flash")).expect("the directory was just made");
        flash.write_all(&[0xFF; BLOCK]).and_then(|()| flash.set_len(FLASH)).expect("there is room for an erased chip");
        let (process, port, monitor) = launch(board, &dir);
        (Self { board, dir, process, monitor }, port)
    }

    /// Resets the board, whatever it does just now; its emulator and the bytes in its port's socket stay.
    pub fn reset(&mut self) {
        execute(&mut self.monitor, "system_reset").expect("the emulator listens");
    }

    /// Kills the emulator, whatever it does just now, and starts it again; the other end of its new port.
    pub fn kill(&mut self) -> UnixStream {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it was killed");
        let (process, port, monitor) = launch(self.board, &self.dir);
        (self.process, self.monitor) = (process, monitor);
        port
    }

    /// For sockets and the like.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// All effects since the first start.
    pub fn ledger(&self) -> Vec<Effect> {
        let bytes = fs::read(self.dir.join("ledger")).expect("the file was made at the start");
        let (records, rest) = bytes.as_chunks::<8>();
        assert!(rest.is_empty(), "a record was cut short");
        let word = |bytes: &[u8]| u32::from_be_bytes(bytes.try_into().expect("four bytes"));
        records.iter().map(|record| Effect { number: word(&record[..4]), coins: word(&record[4..]) }).collect()
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Removes the directories of tests that were killed.
fn remove_leftovers() {
    for entry in fs::read_dir(env::temp_dir()).expect("it can be read").flatten() {
        let name = entry.file_name();
        let ours = name.to_str().and_then(|name| name.strip_prefix("bowline-")?.split_once('-'));
        let Some((process, _)) = ours.filter(|(_, n)| n.parse::<u32>().is_ok()) else { continue };
        if process.parse::<u32>().is_ok() && !Path::new("/proc").join(process).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Where the firmware for all boards is.
fn build_firmware() -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("firmware");
    // More than one package has this file.
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|dir| dir.join("examples/firmware/build.sh"));
    let script = script.into_iter().find(|script| script.exists()).expect("the package is in the repository");
    let status = Command::new(script).arg(&target).stdin(Stdio::null()).status().expect("bash is there");
    assert!(status.success(), "the firmware does not build");
    target
}

/// Starts QEMU, which connects to us; its port and its monitor.
fn launch(board: Board, dir: &Path) -> (Child, UnixStream, BufReader<UnixStream>) {
    let [port, monitor] = ["port", "monitor"].map(|name| {
        let path = dir.join(name);
        let _ = fs::remove_file(&path);
        UnixListener::bind(&path).expect("the directory is ours")
    });
    let qemu = if board.triple.starts_with("riscv32") { "qemu-system-riscv32" } else { "qemu-system-arm" };
    // It must not outlive a test that is killed.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", qemu]);
    // The standard output is also the board's, by semihosting.
    let console = File::create(dir.join("console")).expect("the directory is ours");
    command.current_dir(dir).stdin(Stdio::null()).stdout(console);
    command.args(["-machine", board.machine, "-display", "none", "-monitor", "none"]);
    command.args(["-chardev", "socket,id=port,path=port", "-serial", "chardev:port", "-qmp", "unix:monitor"]);
    command.args(["-semihosting-config", "enable=on,target=native"]);
    if board.machine == "virt" {
        // With `-kernel` it would start in its flash instead.
        command.args(["-bios", "none", "-device", "loader,file=firmware"]);
        command.args(["-drive", "if=pflash,unit=1,format=raw,file=flash"]);
    } else {
        command.args(["-kernel", "firmware"]);
    }
    let mut process = command.spawn().expect("QEMU is installed");
    let [port, monitor] = [port, monitor].map(|listener| accept(&listener, &mut process));
    monitor.set_read_timeout(Some(PATIENCE)).expect("sockets have timeouts");
    let mut monitor = BufReader::new(monitor);
    execute(&mut monitor, "qmp_capabilities").expect("the emulator listens");
    (process, port, monitor)
}

fn accept(listener: &UnixListener, process: &mut Child) -> UnixStream {
    listener.set_nonblocking(true).expect("sockets can be looked at");
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false).expect("sockets can be waited for");
                return stream;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("the socket does not work: {error}"),
        }
        if let Some(status) = process.try_wait().expect("it is our process") {
            panic!("QEMU has ended: {status}");
        }
    }
    panic!("QEMU does not connect")
}

/// A command of QEMU's machine protocol, one line of JSON each way, with events in between.
fn execute(monitor: &mut BufReader<UnixStream>, command: &str) -> io::Result<()> {
    monitor.get_mut().write_all(format!("{{\"execute\": \"{command}\"}}\n").as_bytes())?;
    let mut line = String::new();
    while !line.starts_with("{\"return\"") {
        line.clear();
        if monitor.read_line(&mut line)? == 0 || line.starts_with("{\"error\"") {
            return Err(io::Error::other(line));
        }
    }
    Ok(())
}
