//! What STATS will say, in memory that forked children share with their parent.
//!
//! Not touched on the hot path: a connection counts for itself and adds its sums here when it ends.

use crate::notice;
use crate::shared::Shareable;
use echo_contract::stats::Stats;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) accepted: AtomicU64,
    pub(crate) closed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) accept_errors: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) bytes_discarded: AtomicU64,
    /// Memory of the workers' pools of buffers; 0 in a server without.
    pub(crate) pool_bytes: AtomicU64,
}

// SAFETY: nothing but atomics of plain integers.
unsafe impl Shareable for Counters {}

impl Counters {
    /// The sums so far. A server that is still working may be between two of them.
    pub(crate) fn stats(&self) -> Stats {
        let pool_bytes = self.pool_bytes.load(Relaxed);
        let (bytes_in, bytes_out) = (self.bytes_in.load(Relaxed), self.bytes_out.load(Relaxed));
        Stats {
            accepted: self.accepted.load(Relaxed),
            closed: self.closed.load(Relaxed),
            refused: self.refused.load(Relaxed),
            accept_errors: self.accept_errors.load(Relaxed),
            bytes_in,
            bytes_out,
            bytes_unsent: bytes_in.saturating_sub(bytes_out),
            bytes_discarded: self.bytes_discarded.load(Relaxed),
            notices_lost: notice::lost(),
            buffers_bytes: (pool_bytes > 0).then_some(pool_bytes),
        }
    }
}
