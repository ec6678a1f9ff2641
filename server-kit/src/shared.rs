//! Memory that forked children share with their parent.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicU64;

/// Words at zero, shared with every process forked from now on; they live as long as the process. Pages that nobody
/// touches cost nothing.
pub(crate) fn words(count: usize) -> io::Result<&'static [AtomicU64]> {
    let length = NonZeroUsize::new(count * size_of::<AtomicU64>()).ok_or(io::ErrorKind::InvalidInput)?;
    // SAFETY: an anonymous mapping placed by the kernel touches no memory of ours.
    let memory = unsafe {
        mmap_anonymous(
            None,
            length,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED,
        )
    }?;
    // SAFETY: the mapping is page-aligned, large enough, zeroed (a valid value of every AtomicU64), never unmapped,
    // and only ever reached through this shared reference to atomics.
    Ok(unsafe { std::slice::from_raw_parts(memory.cast::<AtomicU64>().as_ptr(), count) })
}
