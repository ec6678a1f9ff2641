//! Memory that forked children share with their parent.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, AtomicU64};

/// What may lie in shared memory.
///
/// # Safety
/// All bytes zero is a value of the type, which changes through shared references only, atomically.
pub(crate) unsafe trait Shareable: Sync {}

// SAFETY: atomics of plain integers.
unsafe impl Shareable for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shareable for AtomicU64 {}

/// `count` values at zero, shared with every process forked from now on; they live as long as the process. Pages that
/// nobody touches cost nothing.
pub(crate) fn values<T: Shareable>(count: usize) -> io::Result<&'static [T]> {
    let bytes = count.checked_mul(size_of::<T>()).and_then(NonZeroUsize::new);
    // SAFETY: an anonymous mapping placed by the kernel touches no memory of ours.
    let memory = unsafe {
        mmap_anonymous(
            None,
            bytes.ok_or(io::ErrorKind::InvalidInput)?,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE,
        )
    }?;
    // SAFETY: the mapping is page-aligned, large enough, zeroed, which is a value by the trait's promise, and never unmapped.
    Ok(unsafe { std::slice::from_raw_parts(memory.cast::<T>().as_ptr(), count) })
}

/// One value, as [`values`].
pub(crate) fn value<T: Shareable>() -> io::Result<&'static T> {
    values(1).map(|values| &values[0])
}
