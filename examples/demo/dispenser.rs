//! What caller and device have agreed on: the messages, the deadline, and how both set up their end.

use std::fs::File;
use std::io::{self, Read};

use bowline::{Config, Duration, Incarnation};

/// The key of the dispenser's one endpoint.
pub const DISPENSE: u16 = 0x0D15;

/// How long a caller waits for its answer.
pub const DEADLINE: Duration = Duration::from_millis(1_500);

/// How long the motor runs: the coins drop at once, the answer waits for the motor to stop. A crash in between leaves an
/// effect without an answer.
pub const MOTOR: Duration = Duration::from_millis(5);

/// Calls that a caller may have open at a time: the protocol's own limit.
pub const MAX_IN_FLIGHT: usize = 32;

/// Transmissions that each side remembers until they are acknowledged: room for each message to be sent again once or twice.
pub const SENT: usize = 3 * MAX_IN_FLIGHT;

/// The largest payload, and the frame that it needs.
pub const PAYLOAD: usize = 48;
pub const FRAME: usize = bowline::frame_len(PAYLOAD);

/// "Dispense `amount`", under an id of 8 bytes that is never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub id: OrderId,
    pub amount: u16,
}

/// The run of the demo and the number of the call in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct OrderId {
    pub run: u32,
    pub call: u32,
}

impl OrderId {
    pub const LEN: usize = 8;

    pub fn encode(self) -> [u8; Self::LEN] {
        (u64::from(self.run) << 32 | u64::from(self.call)).to_be_bytes()
    }

    pub fn decode(payload: &[u8]) -> Option<Self> {
        let id = u64::from_be_bytes(payload.try_into().ok()?);
        Some(Self { run: (id >> 32) as u32, call: id as u32 })
    }
}

impl Order {
    pub fn encode(self) -> [u8; OrderId::LEN + 2] {
        let mut payload = [0; OrderId::LEN + 2];
        payload[..OrderId::LEN].copy_from_slice(&self.id.encode());
        payload[OrderId::LEN..].copy_from_slice(&self.amount.to_be_bytes());
        payload
    }

    pub fn decode(payload: &[u8]) -> Option<Self> {
        let (id, amount) = payload.split_at_checked(OrderId::LEN)?;
        Some(Self { id: OrderId::decode(id)?, amount: u16::from_be_bytes(amount.try_into().ok()?) })
    }
}

/// How both sides configure their end of the link. Each start of a process is a new incarnation, with 64 bits of the
/// operating system's randomness.
pub fn config() -> io::Result<Config> {
    let mut entropy = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut entropy)?;
    Ok(Config {
        // The calls end after 1.5 s, so a device that is away should be given up before.
        lease: Duration::from_secs(1),
        // The first guess on a link that is known to be short, replaced by the first measurement.
        initial_round_trip: Duration::from_millis(10),
        heartbeat: Duration::from_millis(100),
        // Below the deadline: most requests need not carry what is left of it.
        default_time_to_live: Duration::from_secs(1),
        // Two processes on a busy machine do not run to the microsecond.
        granularity: Duration::from_millis(1),
        ..Config::new(Incarnation::random(u64::from_le_bytes(entropy)))
    })
}
