//! A counter of instructions.

/// What was counted in all, in ticks of the counter.
#[derive(Clone, Copy, Default)]
pub struct Counter {
    ticks: u64,
    sections: u32,
}

impl Counter {
    /// Does `work` and counts its instructions.
    #[inline(always)]
    pub fn count<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let before = ticks();
        let result = work();
        self.ticks += u64::from(since(before));
        self.sections += 1;
        result
    }

    /// Instructions for each of `parts` parts, without those that count.
    pub fn for_each_of(self, parts: u32) -> u32 {
        let mut nothing = Self::default();
        for _ in 0..1_000 {
            nothing.count(|| ());
        }
        let counting = nothing.ticks * u64::from(self.sections) / u64::from(nothing.sections);
        let instructions = (self.ticks - counting) * TICKS.1 / TICKS.0;
        ((instructions + u64::from(parts / 2)) / u64::from(parts)) as u32
    }
}

#[cfg(target_arch = "arm")]
mod cortex_m3 {
    use cortex_m::Peripherals;
    use cortex_m::peripheral::SYST;
    use cortex_m::peripheral::syst::SystClkSource;

    /// An instruction takes 128 ns with `-icount shift=7`, a tick of the clock of 12.5 MHz 80 ns: 8 ticks are 5 instructions.
    pub const TICKS: (u64, u64) = (8, 5);

    /// The counter has 24 bits and counts down.
    const MASK: u32 = 0xFF_FFFF;

    pub fn start() {
        let Some(mut core) = Peripherals::take() else { unreachable!("nothing ran before") };
        core.SYST.set_clock_source(SystClkSource::Core);
        core.SYST.set_reload(MASK);
        core.SYST.clear_current();
        core.SYST.enable_counter();
    }

    #[inline(always)]
    pub fn ticks() -> u32 {
        SYST::get_current()
    }

    #[inline(always)]
    pub fn since(before: u32) -> u32 {
        before.wrapping_sub(ticks()) & MASK
    }
}

#[cfg(target_arch = "arm")]
use cortex_m3::TICKS;
#[cfg(target_arch = "arm")]
pub use cortex_m3::{since, start, ticks};

#[cfg(target_arch = "riscv32")]
mod riscv32 {
    use riscv::register::minstret;

    /// The counter is one of instructions.
    pub const TICKS: (u64, u64) = (1, 1);

    pub fn start() {}

    #[inline(always)]
    pub fn ticks() -> u32 {
        minstret::read() as u32
    }

    #[inline(always)]
    pub fn since(before: u32) -> u32 {
        ticks().wrapping_sub(before)
    }
}

#[cfg(target_arch = "riscv32")]
use riscv32::TICKS;
#[cfg(target_arch = "riscv32")]
pub use riscv32::{since, start, ticks};
