//! The buffers that all clients of a ring receive into: the kernel takes one when bytes are there, not before.

use crate::client::Piece;
use io_uring::IoUring;
use io_uring::types::BufRingEntry;
use nix::errno::Errno;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous, munmap};
use nix::unistd::{SysconfVar, sysconf};
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering::Release};

/// The one group of buffers of a ring.
pub(crate) const GROUP: u16 = 0;
/// Most buffers of a ring, and the length of the queue on which they are handed to the kernel.
const MAX_COUNT: u16 = 1024;
const MIN_COUNT: u16 = 8;
/// Few at first, so that they stay in the cache; doubled each time that the kernel finds none.
const FIRST_COUNT: u16 = 64;
/// Of large buffers there are fewer.
const MAX_BYTES: usize = 16 << 20;
/// Without it the first lines of all buffers would compete for the same few places of the cache.
const CACHE_LINE_BYTES: usize = 64;

/// What is registered with the kernel.
pub(crate) const RING_BYTES: u64 = MAX_COUNT as u64 * size_of::<BufRingEntry>() as u64;

pub(crate) struct Buffers {
    /// The queue: entries that the kernel takes from the front of, in the order in which they are given.
    queue: Memory,
    memory: Memory,
    size: usize,
    stride: usize,
    /// Buffers that there may be.
    limit: u16,
    /// Buffers that there are.
    count: u16,
    /// Buffers with bytes that have not been sent.
    lent: u16,
    /// Entries given to the kernel since the start.
    tail: u16,
}

impl Buffers {
    /// Buffers of `size` bytes for the receives of `ring`; to be dropped only when none is in flight.
    pub(crate) fn new(size: usize, ring: &IoUring) -> io::Result<Self> {
        let stride = size.next_multiple_of(CACHE_LINE_BYTES) + CACHE_LINE_BYTES;
        let affordable = u16::try_from(MAX_BYTES / size).unwrap_or(MAX_COUNT);
        let limit = affordable.clamp(MIN_COUNT, MAX_COUNT);
        let mut buffers = Self {
            queue: Memory::new(usize::from(MAX_COUNT) * size_of::<BufRingEntry>())?,
            memory: Memory::new(stride * usize::from(limit))?,
            size,
            stride,
            limit,
            count: 0,
            lent: 0,
            tail: 0,
        };
        let queue = buffers.queue.start.as_ptr() as u64;
        // SAFETY: the queue has MAX_COUNT entries, starts on a page, and is unmapped only when nothing is in flight (see `run`).
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(queue, MAX_COUNT, GROUP, 0)
        }?;
        buffers.grow_to(FIRST_COUNT.min(limit));
        Ok(buffers)
    }

    /// Whether the kernel may find a buffer.
    pub(crate) fn has_some(&self) -> bool {
        self.lent < self.count
    }

    /// The kernel has put bytes into a buffer.
    pub(crate) fn lend(&mut self) {
        self.lent += 1;
    }

    /// The bytes of a piece have been sent, or are not wanted.
    pub(crate) fn give_back(&mut self, buffer: u16) {
        self.lent -= 1;
        self.give(buffer);
    }

    /// The kernel found none: from now on there are more, up to the limit.
    pub(crate) fn grow(&mut self) {
        self.grow_to((self.count * 2).min(self.limit));
    }

    pub(crate) fn bytes(&self, piece: Piece) -> &[u8] {
        assert!(piece.buffer < self.limit && piece.bytes <= self.size);
        let start = usize::from(piece.buffer) * self.stride;
        // SAFETY: inside the mapping, which was zeroed when made; the kernel writes to a buffer only while it has it on
        // the queue, and this one is lent to a client.
        let buffer = unsafe { std::slice::from_raw_parts(self.memory.start.as_ptr().add(start), self.size) };
        &buffer[..piece.bytes]
    }

    /// Memory that the buffers take: the pages that a byte was ever received into.
    pub(crate) fn resident_bytes(&self) -> io::Result<u64> {
        self.memory.resident_bytes()
    }

    fn grow_to(&mut self, count: u16) {
        for buffer in self.count..count {
            self.give(buffer);
        }
        self.count = count;
    }

    fn give(&mut self, buffer: u16) {
        // SAFETY: the offset is inside the mapping.
        let start = unsafe { self.memory.start.add(usize::from(buffer) * self.stride) };
        let entries = self.queue.start.cast::<BufRingEntry>();
        // SAFETY: the place is inside the queue, and no more entries are ever on it than it has places, so the
        // kernel does not look at this one before the tail has moved.
        let entry = unsafe { entries.add(usize::from(self.tail % MAX_COUNT)).as_mut() };
        entry.set_addr(start.as_ptr() as u64);
        entry.set_len(u32::try_from(self.size).expect("the kit allows buffers up to 1 GiB"));
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail lies in the first entry of a queue that we own; the kernel only reads it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries.as_ptr()).cast_mut()) };
        tail.store(self.tail, Release);
    }
}

/// Zeroed memory from a page's start on. Pages that nobody touches cost nothing, so it is mapped and not allocated.
struct Memory {
    start: NonNull<u8>,
    bytes: NonZeroUsize,
}

impl Memory {
    fn new(bytes: usize) -> io::Result<Self> {
        let bytes = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let (protection, flags) = (ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, MapFlags::MAP_NORESERVE);
        // SAFETY: an anonymous mapping placed by the kernel touches no memory of ours.
        let start = unsafe { mmap_anonymous(None, bytes, protection, MapFlags::MAP_PRIVATE | flags) }?;
        Ok(Self {
            start: start.cast(),
            bytes,
        })
    }

    /// Of the mapping, what the kernel has given pages to.
    fn resident_bytes(&self) -> io::Result<u64> {
        let page_bytes = sysconf(SysconfVar::PAGE_SIZE)?
            .and_then(|bytes| usize::try_from(bytes).ok())
            .ok_or(io::ErrorKind::Unsupported)?;
        let mut pages = vec![0_u8; self.bytes.get().div_ceil(page_bytes)];
        // SAFETY: the mapping is ours, and the vector has a byte for each of its pages.
        Errno::result(unsafe { libc::mincore(self.start.as_ptr().cast(), self.bytes.get(), pages.as_mut_ptr()) })?;
        let resident = pages.iter().filter(|page| **page & 1 == 1).count();
        Ok((resident * page_bytes) as u64)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: mapped with this length, and unmapped once.
        let _ = unsafe { munmap(self.start.cast(), self.bytes.get()) };
    }
}
