//! One client: the echo loop, and each way to get it wrong.

use super::{Options, Vice};
use echo_contract::stats::Stats;
use nix::sys::socket::{setsockopt, sockopt::OobInline};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const TICK: Duration = Duration::from_millis(5);
const BUFFER_BYTES: usize = 16 * 1024;

/// Added to the count of signals by SIGKILL.
pub(crate) const KILLED: u64 = 1 << 32;

/// All clients of one server, and what it counts.
pub(crate) struct Connections {
    pub(crate) vice: Vice,
    pub(crate) options: Options,
    pub(crate) resets: AtomicU64,
    pub(crate) leaked: AtomicU64,
    /// Ended clients, served or refused.
    pub(crate) ended: AtomicU64,
    pub(crate) signals: AtomicU64,
    pub(crate) killed: AtomicBool,
    stats: Mutex<Stats>,
    stderr: Mutex<String>,
    cpu: Mutex<Duration>,
    open: Mutex<HashMap<u64, TcpStream>>,
    serving: AtomicU64,
    refusing: AtomicU64,
    last_chunk: Mutex<Vec<u8>>,
    one_at_a_time: Mutex<()>,
    one_writer: Mutex<()>,
}

impl Connections {
    pub(crate) fn new(vice: Vice, options: Options) -> Self {
        Self {
            vice,
            options,
            resets: AtomicU64::new(0),
            leaked: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            signals: AtomicU64::new(0),
            killed: AtomicBool::new(false),
            stats: Mutex::default(),
            stderr: Mutex::default(),
            cpu: Mutex::default(),
            open: Mutex::default(),
            serving: AtomicU64::new(0),
            refusing: AtomicU64::new(0),
            last_chunk: Mutex::default(),
            one_at_a_time: Mutex::default(),
            one_writer: Mutex::default(),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        *lock(&self.stats)
    }

    pub(crate) fn stderr(&self) -> String {
        lock(&self.stderr).clone()
    }

    pub(crate) fn say(&self, line: &str) {
        *lock(&self.stderr) += &format!("{line}\n");
    }

    pub(crate) fn cpu_time(&self) -> Duration {
        *lock(&self.cpu)
    }

    pub(crate) fn burn(&self, time: Duration) {
        *lock(&self.cpu) += time;
    }

    pub(crate) fn is_full(&self) -> bool {
        let most_refused = match self.vice {
            Vice::LetsTheRefusedKeepOthersOut => 50,
            _ => u64::MAX,
        };
        self.options
            .most_clients
            .is_some_and(|most| self.serving.load(SeqCst) >= most || self.refusing.load(SeqCst) >= most_refused)
    }

    pub(crate) fn open_connections(&self) -> usize {
        lock(&self.open).len()
    }

    pub(crate) fn is_stopping(&self) -> bool {
        (1..KILLED).contains(&self.signals.load(SeqCst))
    }

    pub(crate) fn listening_is_over(&self) -> bool {
        self.killed.load(SeqCst) || (self.is_stopping() && !matches!(self.vice, Vice::ListensOnAfterStop))
    }

    /// As the kernel ends the connections of a killed process.
    pub(crate) fn kill(&self) {
        self.killed.store(true, SeqCst);
        for stream in lock(&self.open).values() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Serves or refuses a client in a thread of its own.
    pub(crate) fn take(self: &Arc<Self>, stream: TcpStream, peer: SocketAddr) {
        let extra = u64::from(matches!(self.vice, Vice::ServesElevenOfTen));
        let over = self
            .options
            .max_connections
            .is_some_and(|most| self.serving.load(SeqCst) >= most + extra);
        let is_refused = over || self.is_full();
        let count = lock(&self.stats).accepted + 1;
        if is_refused && !matches!(self.vice, Vice::CountsTheRefusedAsServed) {
            lock(&self.stats).refused += 1;
        } else {
            lock(&self.stats).accepted += 1;
        }
        let serving = if is_refused { &self.refusing } else { &self.serving };
        serving.fetch_add(1, SeqCst);
        let number = count + (self.refusing.load(SeqCst) << 32);
        lock(&self.open).insert(number, stream.try_clone().expect("a descriptor for the clone"));
        let connections = Arc::clone(self);
        let thread = std::thread::spawn(move || {
            let mut served = Served {
                all: &connections,
                stream,
                peer,
                number,
                echoed: 0,
                last_active: Instant::now(),
                has_place: !is_refused,
                turn: None,
            };
            if is_refused {
                served.refuse();
                connections.refusing.fetch_sub(1, SeqCst);
            } else {
                served.serve();
                lock(&connections.stats).closed += 1;
                if matches!(connections.vice, Vice::FreesAPlaceLate) {
                    std::thread::sleep(TICK);
                }
                served.free_place();
            }
            lock(&connections.open).remove(&number);
            drop(served);
            connections.ended.fetch_add(1, SeqCst);
        });
        if is_refused && matches!(self.vice, Vice::RefusesBeforeItAcceptsTheNext) {
            let _ = thread.join();
        }
    }
}

struct Served<'a> {
    all: &'a Connections,
    stream: TcpStream,
    peer: SocketAddr,
    number: u64,
    echoed: u64,
    last_active: Instant,
    has_place: bool,
    turn: Option<MutexGuard<'a, ()>>,
}

/// Why a client is no longer read from.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Fin,
    Idle,
    Stop,
    Broken,
}

impl Served<'_> {
    fn serve(&mut self) {
        let _ = self
            .stream
            .set_nodelay(!matches!(self.all.vice, Vice::DelaysSmallAnswers));
        let _ = self.stream.set_write_timeout(Some(TICK));
        let is_urgent_inline = !matches!(self.all.vice, Vice::LosesUrgentBytes);
        let _ = setsockopt(&self.stream, OobInline, &is_urgent_inline);
        if matches!(self.all.vice, Vice::HangsUpOnEvery150th) && self.number.is_multiple_of(150) {
            return;
        }
        let _turn = matches!(self.all.vice, Vice::ServesOneAtATime).then(|| lock(&self.all.one_at_a_time));
        let end = match self.all.vice {
            Vice::ReadsWithoutBound => self.echo_without_bound(),
            Vice::LosesWhatItOwesAtFin => self.echo_late(),
            _ => self.echo(),
        };
        if end == End::Broken {
            self.all.resets.fetch_add(1, SeqCst);
            let leaks = match self.all.vice {
                Vice::LeaksADescriptorOnReset => self.echoed > 1,
                _ => false,
            };
            self.all.leaked.fetch_add(u64::from(leaks), SeqCst);
            return;
        }
        self.end(end);
    }

    fn echo(&mut self) -> End {
        let mut held = Vec::new();
        let mut messages = 0;
        loop {
            let chunk = match self.read(TICK) {
                Ok(chunk) => chunk,
                Err(end) => {
                    let _ = self.write(&held);
                    return end;
                }
            };
            messages += 1;
            self.work();
            let echo = match self.all.vice {
                Vice::LosesByte100000 => self.without_byte(chunk, 100_000),
                Vice::MixesUpManyClients => self.mixed_up(chunk),
                Vice::HoldsAnOddByte => {
                    held.extend(chunk);
                    let odd = held.split_off(held.len() / 2 * 2);
                    std::mem::replace(&mut held, odd)
                }
                _ => chunk,
            };
            let _turn = matches!(self.all.vice, Vice::WritesUnderOneLock).then(|| lock(&self.all.one_writer));
            if self.write(&echo).is_err() {
                return End::Broken;
            }
            let is_cut_short = match self.all.vice {
                Vice::EndsAfter500Messages => messages == 500,
                // Dropped with bytes unread, the kernel says reset.
                Vice::ResetsLongStreams => self.echoed > 32 << 20,
                _ => false,
            };
            if is_cut_short {
                return if messages == 500 { End::Idle } else { End::Broken };
            }
        }
    }

    /// The next chunk; a tick without one is a moment to look at the flags.
    fn read(&mut self, tick: Duration) -> Result<Vec<u8>, End> {
        let mut buffer = vec![0; BUFFER_BYTES];
        let takes_turns = matches!(self.all.vice, Vice::LetsStreamsHoldOthersUp) && !self.all.options.work.is_zero();
        let tick = if takes_turns { 20 * tick } else { tick };
        let _ = self.stream.set_read_timeout(Some(tick));
        loop {
            if let Some(end) = self.is_over() {
                return Err(end);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(End::Fin),
                Ok(length) => {
                    if takes_turns && self.turn.is_none() {
                        self.turn = Some(lock(&self.all.one_at_a_time));
                    }
                    buffer.truncate(length);
                    lock(&self.all.stats).bytes_in += length as u64;
                    if !matches!(self.all.vice, Vice::EndsActiveClients) {
                        self.last_active = Instant::now();
                    }
                    return Ok(buffer);
                }
                Err(error) if is_timeout(&error) => self.turn = None,
                Err(_) => return Err(End::Broken),
            }
        }
    }

    fn is_over(&self) -> Option<End> {
        let vice = self.all.vice;
        if self.all.killed.load(SeqCst) {
            return Some(End::Broken);
        }
        let forgets = matches!(vice, Vice::ForgetsIdleClientsOnStop) && self.echoed == 0;
        if self.all.is_stopping() && !forgets {
            return Some(End::Stop);
        }
        let limit = match vice {
            Vice::EndsQuietClients => Some(Duration::from_millis(200)),
            Vice::NeverEndsIdleClients => None,
            Vice::EndsIdleClientsAtOnce => self.all.options.idle_timeout.map(|limit| limit / 4),
            _ => self.all.options.idle_timeout,
        };
        limit
            .is_some_and(|limit| self.last_active.elapsed() > limit)
            .then_some(End::Idle)
    }

    /// Writes all, or what fits until the server gives up; what is lost is counted.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        let outcome = loop {
            if written == bytes.len() {
                break Ok(());
            }
            let gives_up = matches!(self.all.vice, Vice::DoesNotDrain) && self.all.is_stopping();
            if self.all.killed.load(SeqCst) || gives_up {
                break Err(ErrorKind::BrokenPipe.into());
            }
            match self.stream.write(&bytes[written..]) {
                Ok(length) => written += length,
                Err(error) if is_timeout(&error) => {}
                Err(error) => break Err(error),
            }
        };
        self.echoed += written as u64;
        let mut stats = lock(&self.all.stats);
        stats.bytes_out += written as u64;
        stats.bytes_unsent += (bytes.len() - written) as u64;
        outcome
    }

    /// FIN, then discard until the client's.
    fn end(&mut self, end: End) {
        let vice = self.all.vice;
        match (vice, end) {
            (Vice::AnswersEmptiness, End::Fin) if self.echoed == 0 => drop(self.stream.write(b"?")),
            (Vice::AddsAByteInACrowd, End::Fin) if self.all.open_connections() > 50 => drop(self.stream.write(b"?")),
            (Vice::AddsAByteOnStop, End::Stop) => drop(self.stream.write(b"?")),
            (Vice::ResetsOnStop, End::Stop) => {
                // Unread bytes make a close a reset.
                let _ = self.stream.set_read_timeout(Some(Duration::from_secs(1)));
                let _ = self.stream.peek(&mut [0]);
                return;
            }
            (Vice::EndsAllWithOne, End::Fin) => {
                for (_, stream) in lock(&self.all.open)
                    .iter()
                    .filter(|&(&number, _)| number != self.number)
                {
                    let _ = stream.shutdown(Shutdown::Both);
                }
            }
            (Vice::LeaksADescriptorOnVanished, End::Fin) if self.echoed == 0 => {
                self.all.leaked.fetch_add(1, SeqCst);
            }
            (Vice::DoesNotDrain, End::Stop) => return,
            _ => {}
        }
        if !matches!(self.all.vice, Vice::FreesAPlaceLate) {
            self.free_place(); // before anyone can see the end
        }
        let _ = self.stream.shutdown(Shutdown::Write);
        if end != End::Fin {
            self.discard();
        }
    }

    fn free_place(&mut self) {
        if std::mem::take(&mut self.has_place) && !matches!(self.all.vice, Vice::NeverFreesAPlace) {
            self.all.serving.fetch_sub(1, SeqCst);
        }
    }

    fn discard(&mut self) {
        let mut buffer = vec![0; BUFFER_BYTES];
        let _ = self.stream.set_read_timeout(Some(TICK));
        while !self.all.killed.load(SeqCst) {
            match self.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => lock(&self.all.stats).bytes_discarded += length as u64,
                Err(error) if is_timeout(&error) => {}
                Err(_) => break,
            }
        }
    }

    fn refuse(&mut self) {
        if matches!(self.all.vice, Vice::RefusesWithAReset) {
            let _ = self.stream.peek(&mut [0]);
            return;
        }
        let _ = self.stream.shutdown(Shutdown::Write);
        self.discard();
    }

    fn work(&self) {
        let is_for_this = match (&self.all.options.work_source, self.all.vice) {
            (_, Vice::SkipsWork) => false,
            (None, _) | (_, Vice::WorksForAll) => true,
            (Some(source), _) => *source == self.peer.ip().to_string(),
        };
        if is_for_this {
            self.all.burn(self.all.options.work);
        }
    }

    fn without_byte(&self, mut chunk: Vec<u8>, lost: u64) -> Vec<u8> {
        if (self.echoed..self.echoed + chunk.len() as u64).contains(&lost) {
            chunk.remove(usize::try_from(lost - self.echoed).expect("inside the chunk"));
        }
        chunk
    }

    /// Beside many others a client gets the start of what another sent.
    fn mixed_up(&self, mut chunk: Vec<u8>) -> Vec<u8> {
        let mut last = lock(&self.all.last_chunk);
        let mine = chunk.clone();
        if self.all.open_connections() > 50 && last.len() == chunk.len() {
            chunk.clone_from(&last);
        }
        *last = mine;
        chunk
    }

    /// Reads on, whatever the client has not taken yet.
    fn echo_without_bound(&mut self) -> End {
        let (queue, waiting) = std::sync::mpsc::channel::<Vec<u8>>();
        let mut writer = self.stream.try_clone().expect("a descriptor for the writer");
        std::thread::scope(|scope| {
            scope.spawn(move || {
                let _ = writer.set_write_timeout(None);
                waiting.iter().try_for_each(|chunk| writer.write_all(&chunk))
            });
            loop {
                match self.read(TICK) {
                    Ok(chunk) => drop(queue.send(chunk)),
                    Err(end) => {
                        drop(queue);
                        return end;
                    }
                }
            }
        })
    }

    /// Echoes a chunk when the next one comes or none does for a while; at FIN it forgets the last one.
    fn echo_late(&mut self) -> End {
        let mut owed = Vec::new();
        loop {
            let _ = self.stream.set_read_timeout(Some(TICK));
            let quiet = matches!(self.stream.peek(&mut [0]), Err(error) if is_timeout(&error));
            if quiet && self.write(&std::mem::take(&mut owed)).is_err() {
                return End::Broken;
            }
            match self.read(TICK) {
                Ok(chunk) => {
                    if self.write(&std::mem::replace(&mut owed, chunk)).is_err() {
                        return End::Broken;
                    }
                }
                Err(end) => return end,
            }
        }
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// A thread that failed elsewhere is no reason to fail here too.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
