//! Memory that forked children share with their parent.

use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::io;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::SeqCst};

/// What may lie in shared memory.
///
/// # Safety
/// All bytes zero is a value of the type, which changes through shared references only, atomically.
pub(crate) unsafe trait Shareable: Sync {}

// SAFETY: atomics of plain integers.
unsafe impl Shareable for AtomicU32 {}
// SAFETY: as above.
unsafe impl Shareable for AtomicU64 {}

/// Room for a seat for every process that a system can have, and for all else.
const CAPACITY_BYTES: usize = 40 << 20;
/// What different processes write is not to be on one cache line.
const ALIGNMENT: usize = 64;

/// All of it is one mapping: each further one would cost every fork, and each page that a child touches a fault.
static MEMORY: OnceLock<usize> = OnceLock::new();
static USED_BYTES: AtomicUsize = AtomicUsize::new(0);

/// `count` values at zero, shared with every process forked from now on; they live as long as the process. Pages that
/// nobody touches cost nothing.
pub(crate) fn values<T: Shareable>(count: usize) -> io::Result<&'static [T]> {
    const { assert!(align_of::<T>() <= ALIGNMENT) };
    let out_of_room = || io::Error::from(io::ErrorKind::OutOfMemory);
    let bytes = count.checked_mul(size_of::<T>()).ok_or_else(out_of_room)?;
    let memory = match MEMORY.get() {
        Some(memory) => *memory,
        None => {
            let memory = map()?;
            *MEMORY.get_or_init(|| memory)
        }
    };
    let take = |used: usize| {
        let end = used.checked_add(bytes)?.checked_next_multiple_of(ALIGNMENT)?;
        (end <= CAPACITY_BYTES).then_some(end)
    };
    let start = USED_BYTES
        .fetch_update(SeqCst, SeqCst, take)
        .map_err(|_| out_of_room())?;
    let first = std::ptr::with_exposed_provenance::<T>(memory + start);
    // SAFETY: inside the mapping, aligned, handed out once, zeroed, which is a value by the trait's promise, and never unmapped.
    Ok(unsafe { std::slice::from_raw_parts(first, count) })
}

/// Where the memory is. One that another thread's makes superfluous costs nothing, since nobody touches it.
fn map() -> io::Result<usize> {
    let bytes = NonZeroUsize::new(CAPACITY_BYTES).ok_or(io::ErrorKind::InvalidInput)?;
    let flags = MapFlags::MAP_SHARED | MapFlags::MAP_NORESERVE;
    // SAFETY: an anonymous mapping placed by the kernel touches no memory of ours.
    let memory = unsafe { mmap_anonymous(None, bytes, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags) }?;
    Ok(memory.as_ptr().expose_provenance())
}

/// One value, as [`values`].
pub(crate) fn value<T: Shareable>() -> io::Result<&'static T> {
    values(1).map(|values| &values[0])
}
