//! A flag that is kept only with an operating system.

/// On a board it is never set and takes no memory, and what depends on it is not in the program.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(bowline_model, derive(Hash))]
pub(crate) struct HostFlag([bool; cfg!(feature = "std") as usize]);

impl HostFlag {
    pub(crate) const UNSET: Self = Self::new(false);

    pub(crate) const fn new(is_set: bool) -> Self {
        Self([is_set; _])
    }

    #[cfg_attr(feature = "speed", inline)]
    pub(crate) const fn get(self) -> bool {
        matches!(self.0.as_slice(), [true])
    }
}
