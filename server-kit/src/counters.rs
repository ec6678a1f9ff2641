//! What STATS will say, in memory that forked children share with their parent.
//!
//! Not touched on the hot path: a connection counts for itself and adds its sums here when it ends.

use echo_contract::stats::Stats;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::io;
use std::num::NonZeroUsize;
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
}

impl Counters {
    /// Counters at zero, shared with every process forked from now on; they live as long as the process.
    pub(crate) fn new_shared() -> io::Result<&'static Self> {
        let length = NonZeroUsize::new(size_of::<Self>()).expect("the struct has fields");
        // SAFETY: an anonymous mapping placed by the kernel touches no memory of ours.
        let memory = unsafe {
            mmap_anonymous(
                None,
                length,
                ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
                MapFlags::MAP_SHARED,
            )
        }?;
        // SAFETY: the mapping is page-aligned, large enough, zeroed (a valid value of every AtomicU64), never
        // unmapped, and only ever reached through this shared reference to atomics.
        Ok(unsafe { memory.cast::<Self>().as_ref() })
    }

    /// The sums so far. A server that is still working may be between two of them.
    pub(crate) fn stats(&self) -> Stats {
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
        }
    }
}
