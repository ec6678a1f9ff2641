//! One worker's event loop: its clients' sockets on one epoll instance.
//!
//! This file has the loop itself and its patience. Bytes are moved in [`receive`] and judged by [`Connection`], commands are
//! obeyed in [`commands`]; how a connection begins and ends is in [`open_close`], how messages leave by plan in [`by_plan`].

mod by_plan;
mod commands;
mod open_close;
mod receive;

use super::clock::now_ns;
use super::connection::Connection;
use super::control::{Command, Control};
use super::dealer::{Dealer, Due};
use super::pacer;
use super::socket::SocketMaker;
use crate::record::{CloseBy, Plan};
use crate::recorder::Recorder;
use crate::workload::payload::{Payload, Sizes, Source};
use crate::workload::schedule::Schedule;
use by_plan::ByPlan;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

/// Events taken from the kernel at a time.
const EVENTS_PER_TURN: usize = 256;
/// Most bytes taken from one connection at a time, so that no client starves the others.
const RECEIVE_BYTES: usize = 256 * 1024;
/// Most bytes taken at a time from a client beside the measured ones: what it takes to look at them is a delay of theirs.
const RECEIVE_BYTES_BESIDE: usize = 16 * 1024;
/// How long after the last event a thread looks for the answers under way before it sleeps. What wakes it then is the server,
/// which pays for it; beside a wait this long that is little.
const LOOK_NS: u64 = 1_000_000;
/// A turn of the loop that found nothing to do and took longer than this was not spinning: the thread was off its CPU.
const LONGEST_SPIN_TURN_NS: u64 = 20_000;
/// How often the deadlines of all clients are looked at.
const SWEEP_NS: u64 = 50_000_000;
/// Clients that are looked at in one go: all of ten thousand would keep the next planned message waiting.
const SWEEP_CLIENTS: usize = 1_024;
/// Wait before a failed connection is tried again.
const RETRY_NS: u64 = 10_000_000;
/// Longest wait for the server's FIN on a connection that the workload ends.
const CLOSING_NS: u64 = 2_000_000_000;
/// The event of the waker.
const WAKER: u64 = u64::MAX;

/// What a worker is to do, the same for its whole life.
pub(super) struct Setup<'a> {
    pub(super) plan: &'a Plan,
    pub(super) payload: &'a Payload,
    pub(super) sockets: SocketMaker,
    /// Number of this worker's first client; the others follow.
    pub(super) first_client: u32,
    pub(super) clients: u32,
}

impl Setup<'_> {
    fn client(&self, slot: usize) -> Client {
        let workload = &self.plan.workload;
        let is_beside = self.number(slot) >= workload.measured_clients();
        let pipeline = workload.pipeline as usize;
        match workload.beside.filter(|_| is_beside) {
            Some(beside) => Client::new(beside.pipeline as usize, beside.pipeline as usize, true),
            None => Client {
                is_active: workload.is_active(self.number(slot)),
                ..Client::new(pipeline, if workload.churn { 1 } else { pipeline }, false)
            },
        }
    }

    /// Number of the client at this place, over all workers.
    fn number(&self, slot: usize) -> u32 {
        self.first_client + u32::try_from(slot).expect("a slot is below the number of clients")
    }
}

/// How far a worker has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Milestone {
    /// All clients are connected and each has echoed once.
    Connected,
    /// No message is outstanding and none will be planned.
    Finished {
        /// When the first connect() of this command was called.
        first_connect_ns: u64,
        /// When the last message ended.
        last_end_ns: u64,
    },
    /// All connections are closed.
    Drained,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// No socket.
    Closed,
    /// connect() is under way.
    Connecting,
    Open,
    /// FIN sent, the server's not yet seen.
    Closing,
}

struct Client {
    socket: Option<OwnedFd>,
    state: State,
    /// When the state began.
    since_ns: u64,
    /// Connections opened so far; tells events of this socket from those of an earlier one.
    generation: u32,
    /// Whether this connection has echoed a message.
    proven: bool,
    /// Whether any of its connections has.
    served: bool,
    /// Whether the connection before has carried all that it should, so that the next is no repair.
    renews: bool,
    /// Whether EPOLLOUT is asked for.
    wants_write: bool,
    connection: Connection,
    /// Messages that may be under way at the same time.
    depth: usize,
    /// Whether it is one beside the measured ones.
    is_beside: bool,
    /// Messages of the job that are not planned yet.
    left: u64,
    /// Number of the next message, over all connections.
    next_message: u64,
    /// Whether the plan deals messages to it.
    is_active: bool,
    /// Whether it stands in line for a message of the plan.
    in_line: bool,
    /// The message of the plan for which the connection is being opened.
    pending: Option<Due>,
}

impl Client {
    /// A client without a connection.
    fn new(pipeline: usize, depth: usize, is_beside: bool) -> Self {
        Self {
            socket: None,
            state: State::Closed,
            since_ns: 0,
            generation: 0,
            proven: true, // a closed client counts as proven, see `close`
            served: false,
            renews: false,
            wants_write: false,
            connection: Connection::new(pipeline),
            depth,
            is_beside,
            left: 0,
            next_message: 0,
            is_active: true,
            in_line: false,
            pending: None,
        }
    }

    /// Whether it can take a message: on its connection, or on the one that will be opened for it.
    #[inline]
    fn has_room(&self, carries: u64) -> bool {
        let is_fresh = self.state == State::Closed || self.connection.taken() < carries;
        is_fresh && self.connection.in_flight() < self.depth
    }
}

/// The loop of one worker.
pub(super) struct EventLoop<'a> {
    setup: Setup<'a>,
    control: &'a Control,
    worker: usize,
    /// None in a closed loop.
    by_plan: Option<ByPlan<'a>>,
    /// Messages that a connection carries; without a limit `u64::MAX`.
    carries: u64,
    close_by: CloseBy,
    timeout_ns: u64,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    buffer: Box<[u8]>,
    sizes: Sizes,
    /// Length of the messages of clients beside the measured ones.
    size_beside: u64,
    source: Source<'a>,
    clients: Vec<Client>,
    /// Clients that want a connection now.
    to_open: VecDeque<usize>,
    /// Clients that want one later: due time and client, in order of time.
    to_retry: VecDeque<(u64, usize)>,
    /// When to ask again whether a connection may be opened.
    opens_at_ns: u64,
    command: Command,
    /// Messages planned from here on count.
    from_ns: u64,
    /// None is planned from here on.
    to_ns: u64,
    /// Whether the milestone of the command was told.
    told: bool,
    proven: u64,
    /// Clients that have had an echo.
    served: u64,
    in_flight: usize,
    left: u64,
    first_connect_ns: u64,
    last_end_ns: u64,
    /// When the run began, for the times of first failures.
    begun_ns: u64,
    next_sweep_ns: u64,
    /// When the kernel last had an event, to the turn; and whether the turn under way has one.
    served_ns: u64,
    serves: bool,
    /// When the turn under way began, if all it does is wait for a planned time or an answer.
    spins_since_ns: Option<u64>,
    /// The first client that the next sweep looks at.
    sweep_from: usize,
    pub(super) recorder: Recorder,
    /// Connections that ended otherwise than by both FINs, after all their echoes were there.
    pub(super) unclean_closes: u64,
    /// Bytes that came when nothing was outstanding.
    pub(super) surplus_bytes: u64,
    /// Messages and attempts to connect that failed, all phases.
    failures: u64,
    /// Failed attempts that are this machine's fault, not the server's: no source port, no descriptor.
    pub(super) local_failures: u64,
    /// Those of them that found no source port.
    pub(super) port_failures: u64,
}

impl<'a> EventLoop<'a> {
    pub(super) fn new(
        setup: Setup<'a>,
        control: &'a Control,
        worker: usize,
        recorder: Recorder,
        begun_ns: u64,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(control.waker(worker), EpollEvent::new(EpollFlags::EPOLLIN, WAKER))?;
        let workload = &setup.plan.workload;
        let sizes = Sizes::new(workload.size_min_bytes, workload.size_max_bytes, setup.plan.seed);
        let count = setup.clients as usize;
        let clients = (0..count).map(|slot| setup.client(slot)).collect();
        let by_plan = workload.open_loop().map(|open| {
            let schedule = Schedule::new(open, setup.plan.seed);
            ByPlan::new(Dealer::new(&control.plan, worker, schedule), open.waiting, count)
        });
        Ok(Self {
            by_plan,
            carries: workload.connection_carries().unwrap_or(u64::MAX),
            close_by: workload.close,
            timeout_ns: setup.plan.timeout_ms * 1_000_000,
            control,
            worker,
            epoll,
            events: vec![EpollEvent::empty(); EVENTS_PER_TURN],
            buffer: vec![0; RECEIVE_BYTES].into_boxed_slice(),
            sizes,
            size_beside: workload.beside.map_or(0, |beside| beside.size_bytes),
            source: Source::new(setup.payload),
            clients,
            to_open: VecDeque::with_capacity(count),
            to_retry: VecDeque::with_capacity(count),
            opens_at_ns: 0,
            command: Command::Rest,
            from_ns: u64::MAX,
            to_ns: u64::MAX,
            told: true,
            proven: 0,
            served: 0,
            in_flight: 0,
            left: 0,
            first_connect_ns: u64::MAX,
            last_end_ns: 0,
            begun_ns,
            next_sweep_ns: 0,
            served_ns: 0,
            serves: false,
            spins_since_ns: None,
            sweep_from: 0,
            recorder,
            unclean_closes: 0,
            surplus_bytes: 0,
            failures: 0,
            local_failures: 0,
            port_failures: 0,
            setup,
        })
    }

    /// Serves until the conductor says exit; `reached` hears of milestones.
    pub(super) fn run(&mut self, mut reached: impl FnMut(Command, Milestone)) -> io::Result<()> {
        while self.command != Command::Exit {
            self.wait_and_serve()?;
            self.obey();
            self.open_some();
            self.send_due();
            self.sweep();
            self.publish_progress();
            if !self.told
                && let Some(milestone) = self.milestone()
            {
                self.told = true;
                reached(self.command, milestone);
            }
        }
        Ok(())
    }

    fn wait_and_serve(&mut self) -> io::Result<()> {
        let limit_ns = self.patience_ns();
        let mut events = std::mem::take(&mut self.events);
        let count = match pacer::wait(&self.epoll, &mut events, limit_ns) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(errno.into()),
        };
        if count > 0 {
            self.spins_since_ns = None;
            self.serves = true;
        }
        for event in &events[..count] {
            if event.data() == WAKER {
                let _ = self.control.waker(self.worker).read();
            } else {
                self.serve(event.data(), event.events());
                // A planned time may come while many echoes are served.
                self.send_due();
            }
        }
        self.events = events;
        Ok(())
    }

    /// How long the kernel may keep us waiting; none is for ever.
    fn patience_ns(&mut self) -> Option<u64> {
        if self.command == Command::Rest {
            return None;
        }
        let now = now_ns();
        self.book_turn(now);
        let mut until = self.next_sweep_ns;
        if let Some(&(due, _)) = self.to_retry.front() {
            until = until.min(due);
        }
        if !self.to_open.is_empty() {
            until = until.min(self.opens_at_ns);
        }
        if self.command == Command::RunUntil && now < self.to_ns {
            until = until.min(self.to_ns);
        }
        let patience_ns = until.saturating_sub(now);
        let patience_ns = self
            .plan_patience_ns(now)
            .map_or(patience_ns, |plan| plan.min(patience_ns));
        if patience_ns > 0 && self.looks_for_answers(now) {
            self.spins_since_ns = Some(now);
            return Some(0);
        }
        Some(patience_ns)
    }

    /// Books the turn that ends `now`, if it was spent looking for something to do in the measured phase.
    #[inline]
    fn book_turn(&mut self, now: u64) {
        if std::mem::take(&mut self.serves) {
            self.served_ns = now;
        }
        if let Some(since_ns) = self.spins_since_ns.take()
            && now - since_ns <= LONGEST_SPIN_TURN_NS
            && now >= self.from_ns
            && now < self.to_ns
        {
            self.recorder.spin_ns += now - since_ns;
        }
    }

    /// Whether to look again at once, because an answer may come any moment.
    #[inline]
    fn looks_for_answers(&self, now: u64) -> bool {
        self.setup.plan.looks_for_answers && self.in_flight > 0 && now - self.served_ns < LOOK_NS
    }

    fn publish_progress(&self) {
        let gauges = &self.control.gauges[self.worker];
        let publish = |gauge: &AtomicU64, value: u64| gauge.store(value, Ordering::Relaxed);
        publish(&gauges.ok, self.recorder.totals.messages);
        publish(&gauges.errors, self.recorder.outcomes.counts.errors());
        publish(&gauges.failures, self.failures);
        publish(&gauges.in_flight, self.in_flight as u64);
        publish(&gauges.proven, self.proven);
        publish(&gauges.served, self.served);
        publish(&gauges.connections, self.recorder.totals.connections);
    }
}

fn token(slot: usize, generation: u32) -> u64 {
    (slot as u64) << 32 | u64::from(generation)
}

fn untoken(token: u64) -> (usize, u32) {
    ((token >> 32) as usize, (token & 0xffff_ffff) as u32)
}

/// `connection reset by peer (ECONNRESET)`.
fn describe(errno: Errno) -> String {
    format!("{} ({errno:?})", errno.desc().to_lowercase())
}
