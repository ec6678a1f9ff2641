//! Which descriptors are listeners, connections, or lingering sockets: one atomic word per descriptor, so that a signal handler can
//! read it and the hot path never locks.
//!
//! The table is an anonymous private mapping: pages of descriptors never used cost nothing, and a forked child
//! gets a copy of its own. A descriptor must be taken out before it is closed; else the handler could shut down
//! whatever got its number next.

use crate::state;
use nix::sys::mman::{MapFlags, ProtFlags, mmap_anonymous};
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::thread;

/// Set while a signal handler is at work on the descriptor; its owner waits for the end of it before closing.
const BUSY: u32 = 1;
const LISTENER: u32 = 2;
const CONNECTION: u32 = 4;
/// The kit ended the connection's reading, so an end of stream is not the client's.
const QUIETED: u32 = 8;
/// The server has sent its FIN and waits for the client's; the kit alone owns the descriptor.
const LINGERING: u32 = 16;
/// The remaining bits hold the idle tick of the last byte received; of a lingering socket, when its time is over.
const TICK_SHIFT: u32 = 5;
const TICK_MASK: u32 = u32::MAX << TICK_SHIFT;

static TABLE: AtomicPtr<AtomicU32> = AtomicPtr::new(std::ptr::null_mut());
static TABLE_LENGTH: AtomicUsize = AtomicUsize::new(0);
/// One more than the largest descriptor ever registered: how far a handler has to look.
static HIGH_WATER: AtomicUsize = AtomicUsize::new(0);

/// No descriptor above this is ever registered: see `limits`.
pub(crate) const MAX_DESCRIPTOR: RawFd = (1 << 22) - 1;

/// Makes the table, for descriptors below `length`. Called once, before any handler is installed.
pub(crate) fn create(length: usize) -> io::Result<()> {
    let bytes = NonZeroUsize::new(length.max(1) * size_of::<AtomicU32>()).expect("at least one entry");
    // SAFETY: an anonymous mapping placed by the kernel touches no memory of ours.
    let memory = unsafe {
        mmap_anonymous(
            None,
            bytes,
            ProtFlags::PROT_READ | ProtFlags::PROT_WRITE,
            MapFlags::MAP_PRIVATE | MapFlags::MAP_NORESERVE,
        )
    }?;
    TABLE.store(memory.cast().as_ptr(), SeqCst);
    TABLE_LENGTH.store(length, SeqCst);
    Ok(())
}

/// Enters a listener: a stop shuts its reading down. It stays registered for the life of the process.
pub(crate) fn register_listener(fd: RawFd) -> io::Result<()> {
    let entry = enter(fd, LISTENER)?;
    if state::is_stopping() {
        shutdown(fd, entry, libc::SHUT_RD);
    }
    Ok(())
}

/// Enters a connection; a stop or its idling ends its reading from now on.
pub(crate) fn register_connection(fd: RawFd) -> io::Result<Registration> {
    let entry = enter(fd, CONNECTION | (state::idle_tick() << TICK_SHIFT))?;
    Ok(Registration { entry })
}

/// Empties the table and leaves the descriptors as they are: a forked child starts with none.
pub(crate) fn forget_all() {
    // What is empty is not written to: the child would get a page of its own for it.
    for (_, entry) in entries().filter(|(_, entry)| entry.load(SeqCst) != 0) {
        entry.store(0, SeqCst);
    }
    HIGH_WATER.store(0, SeqCst);
}

/// Ends accepting on every listener. Async-signal-safe.
pub(crate) fn shut_listeners() {
    for (fd, entry) in entries().filter(|(_, entry)| entry.load(SeqCst) & LISTENER != 0) {
        shutdown(fd, entry, libc::SHUT_RD);
    }
}

/// Ends the reading of each connection from which nothing came for `silence_ms`, and which has nothing on its way in
/// either direction, so that a server waiting for its next byte sees an end of stream. Async-signal-safe.
///
/// The others are left alone on purpose. They leave their read by themselves, with the bytes that are on their
/// way; and once reading is shut down, Linux answers the client's next byte after our FIN with a reset and throws
/// away what we still owe (tcp_rcv_state_process, FIN_WAIT with RCV_SHUTDOWN), so it must not happen to a
/// client that is sending, nor while anything is still owed.
pub(crate) fn quiet_silent_connections(silence_ms: u32) {
    let is_silent = |fd| tcp_info(fd).is_some_and(|info| info.tcpi_last_data_recv >= silence_ms);
    for (fd, entry) in entries() {
        if is_open_connection(entry.load(SeqCst)) && owes_nothing(fd) && is_silent(fd) {
            quiet(fd, entry);
        }
    }
}

/// Ends the reading of each connection from which nothing came for more than `limit_ticks` and which is owed
/// nothing. Async-signal-safe.
pub(crate) fn quiet_idle_connections(now_tick: u32, limit_ticks: u32) {
    for (fd, entry) in entries() {
        let word = entry.load(SeqCst);
        let age = now_tick.wrapping_sub(word >> TICK_SHIFT) & (TICK_MASK >> TICK_SHIFT);
        if is_open_connection(word) && age > limit_ticks && owes_nothing(fd) {
            quiet(fd, entry);
        }
    }
}

/// Enters a socket that the server has closed for its part, with the time after which it is given up. From now on the
/// descriptor is the table's, which closes it.
pub(crate) fn register_lingering(fd: OwnedFd, until: u32) -> io::Result<()> {
    state::one_more_lingers();
    match enter(fd.as_raw_fd(), LINGERING | (until << TICK_SHIFT)) {
        Ok(_) => {
            let _ = fd.into_raw_fd();
            Ok(())
        }
        Err(error) => {
            state::one_less_lingers();
            Err(error)
        }
    }
}

/// Closes each lingering socket that is at its end as `is_at_end` says, or out of time at `now`. Async-signal-safe, if
/// `is_at_end` is.
pub(crate) fn sweep_lingering(now: u32, is_at_end: impl Fn(RawFd) -> bool) {
    for (fd, entry) in entries() {
        let word = entry.load(SeqCst);
        if word & LINGERING != 0 {
            let is_over = |fd| is_at_end(fd) || ticks_left(word, now) <= 0;
            close_lingering_if(fd, entry, is_over);
        }
    }
}

/// Closes the lingering socket that has the least time left.
pub(crate) fn close_oldest_lingering(now: u32) {
    let lingering = entries().filter(|(_, entry)| entry.load(SeqCst) & LINGERING != 0);
    if let Some((fd, entry)) = lingering.min_by_key(|(_, entry)| ticks_left(entry.load(SeqCst), now)) {
        close_lingering_if(fd, entry, |_| true);
    }
}

/// Ends reading and writing of every connection: the drain timeout is over. Async-signal-safe.
pub(crate) fn shut_connections() {
    for (fd, entry) in entries().filter(|(_, entry)| entry.load(SeqCst) & CONNECTION != 0) {
        shutdown(fd, entry, libc::SHUT_RDWR);
    }
}

/// A connection's place in the table.
pub(crate) struct Registration {
    entry: &'static AtomicU32,
}

impl Registration {
    /// Notes that a byte came just now. A handler at work on the entry wins: it has already decided.
    pub(crate) fn touch(&self) {
        let word = self.entry.load(Relaxed);
        let touched = (word & !TICK_MASK) | (state::idle_tick() << TICK_SHIFT);
        if word & BUSY == 0 && word != touched {
            let _ = self.entry.compare_exchange(word, touched, SeqCst, Relaxed);
        }
    }

    /// Leaves the table; must come before the descriptor is closed. Returns whether the kit, not the client,
    /// ended the reading.
    pub(crate) fn leave(self) -> bool {
        loop {
            let word = self.entry.load(SeqCst);
            if word & BUSY != 0 {
                thread::yield_now(); // a handler in another thread is between two system calls
            } else if self.entry.compare_exchange(word, 0, SeqCst, SeqCst).is_ok() {
                return word & QUIETED != 0;
            }
        }
    }
}

fn enter(fd: RawFd, word: u32) -> io::Result<&'static AtomicU32> {
    let index = usize::try_from(fd).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    let entry = entry(index).ok_or_else(|| io::Error::other("the descriptor is above the limit seen at start"))?;
    HIGH_WATER.fetch_max(index + 1, SeqCst);
    entry.store(word, SeqCst);
    Ok(entry)
}

fn entry(index: usize) -> Option<&'static AtomicU32> {
    let table = TABLE.load(Relaxed);
    if table.is_null() || index >= TABLE_LENGTH.load(Relaxed) {
        return None;
    }
    // SAFETY: the index is inside the mapping that `create` made, which is never unmapped, is aligned, and was
    // zeroed by the kernel; entries are only ever reached as shared atomics.
    Some(unsafe { &*table.add(index) })
}

fn entries() -> impl Iterator<Item = (RawFd, &'static AtomicU32)> {
    let indices = 0..HIGH_WATER.load(SeqCst);
    indices.filter_map(|index| Some((RawFd::try_from(index).ok()?, entry(index)?)))
}

/// Between the time in a word and `now`; both wrap.
fn ticks_left(word: u32, now: u32) -> i32 {
    (word & TICK_MASK).wrapping_sub(now << TICK_SHIFT).cast_signed() >> TICK_SHIFT
}

/// Empties the entry before it closes the descriptor: right after, the number may be anyone's.
fn close_lingering_if(fd: RawFd, entry: &AtomicU32, is_over: impl FnOnce(RawFd) -> bool) {
    let word = entry.load(SeqCst);
    let is_free = word & (LINGERING | BUSY) == LINGERING;
    if !is_free || entry.compare_exchange(word, word | BUSY, SeqCst, SeqCst).is_err() {
        return;
    }
    if is_over(fd) {
        entry.store(0, SeqCst);
        // SAFETY: the entry was ours, and so is the descriptor, which nothing else owns since `register_lingering`.
        unsafe { libc::close(fd) };
        state::one_less_lingers();
    } else {
        entry.store(word, SeqCst);
    }
}

fn is_open_connection(word: u32) -> bool {
    word & CONNECTION != 0 && word & QUIETED == 0
}

/// Shuts one direction or both down while the entry is held, so that its owner cannot close the descriptor
/// meanwhile and hand its number to something else. Passes over an entry that changes under our hands: the
/// next tick comes.
fn shutdown(fd: RawFd, entry: &AtomicU32, how: libc::c_int) {
    hold(entry, 0, || {
        // SAFETY: shutdown(2) takes any number; the entry is held, so the descriptor is still the registered one.
        unsafe { libc::shutdown(fd, how) };
    });
}

/// Ends the reading and says so in the entry.
fn quiet(fd: RawFd, entry: &AtomicU32) {
    hold(entry, QUIETED, || {
        // SAFETY: as in `shutdown`.
        unsafe { libc::shutdown(fd, libc::SHUT_RD) };
    });
}

fn hold(entry: &AtomicU32, mark: u32, work: impl FnOnce()) {
    let word = entry.load(SeqCst);
    if word == 0 || word & BUSY != 0 {
        return;
    }
    if entry.compare_exchange(word, word | BUSY, SeqCst, SeqCst).is_ok() {
        work();
        entry.store(word | mark, SeqCst);
    }
}

/// What the kernel knows of a connection. Async-signal-safe.
pub(crate) fn tcp_info(fd: RawFd) -> Option<libc::tcp_info> {
    // SAFETY: the struct holds integers only, for which zero is a value.
    let mut info: libc::tcp_info = unsafe { std::mem::zeroed() };
    let mut length = libc::socklen_t::try_from(size_of_val(&info)).ok()?;
    // SAFETY: the kernel writes at most `length` bytes, the size of what the pointer points to.
    let result = unsafe {
        libc::getsockopt(
            fd,
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(info)
}

/// Nothing unread and nothing unacknowledged. A descriptor that cannot tell counts as owed, and is left alone.
fn owes_nothing(fd: RawFd) -> bool {
    queued(fd, libc::FIONREAD) == 0 && queued(fd, libc::TIOCOUTQ) == 0
}

/// Bytes in the receive queue (FIONREAD) or not yet acknowledged by the client (TIOCOUTQ, the same as SIOCOUTQ).
fn queued(fd: RawFd, request: libc::Ioctl) -> libc::c_int {
    let mut bytes: libc::c_int = 0;
    // SAFETY: both requests write one int, to which the pointer points.
    let result = unsafe { libc::ioctl(fd, request, &raw mut bytes) };
    if result == 0 { bytes } else { libc::c_int::MAX }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (client, listener.accept().unwrap().0)
    }

    fn await_condition(condition: impl Fn() -> bool) {
        let until = Instant::now() + Duration::from_secs(30);
        while !condition() {
            assert!(Instant::now() < until, "not within 30 s");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// One test, since the table is the process's.
    #[test]
    fn only_silent_connections_that_are_owed_nothing_lose_their_reading() {
        create(1024).unwrap();
        let (_silent_client, mut silent) = pair();
        let (mut sending_client, mut sending) = pair();
        let (_owed_client, mut owed) = pair();
        let [silent_entry, sending_entry, owed_entry] =
            [&silent, &sending, &owed].map(|stream| register_connection(stream.as_raw_fd()).unwrap());
        sending_client.write_all(b"on its way").unwrap();
        await_condition(|| queued(sending.as_raw_fd(), libc::FIONREAD) == 10);
        // More than the client's buffers take, so some stays unacknowledged.
        owed.set_nonblocking(true).unwrap();
        while owed.write(&[0; 65536]).is_ok() {}

        quiet_silent_connections(u32::MAX);
        assert_eq!(silent_entry.entry.load(SeqCst) & QUIETED, 0, "not silent for so long");

        quiet_silent_connections(0);
        assert_eq!(silent.read(&mut [0; 16]).unwrap(), 0);
        assert_eq!(sending.read(&mut [0; 16]).unwrap(), 10);
        assert_eq!(owed.read(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert_eq!(
            [silent_entry, sending_entry, owed_entry].map(Registration::leave),
            [true, false, false]
        );

        quiet_silent_connections(0);
        sending_client.write_all(b"more").unwrap();
        assert_eq!(
            sending.read(&mut [0; 16]).unwrap(),
            4,
            "one that has left is not touched"
        );
    }
}
