//! What the machine offers.

/// What the machine offers, as far as plans depend on it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// CPUs that this process may use, grouped by physical core, cores of the fastest kind first.
    pub cores: Vec<Vec<usize>>,
    /// RLIMIT_NOFILE, hard.
    pub nofile_hard: u64,
    /// Ports that connect() may choose from, for each source address and target.
    pub ports_per_source: u64,
}
