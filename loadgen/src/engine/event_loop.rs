//! One worker's event loop: its clients' sockets on one epoll instance.
//!
//! Bytes are judged by [`Connection`]; this file moves them, keeps the clock, and decides what a client does next. How a
//! connection begins and ends stands in [`open_close`], how messages leave by plan in [`by_plan`].

mod by_plan;
mod open_close;

use super::clock::now_ns;
use super::connection::Connection;
use super::control::{Command, Control};
use super::dealer::{Dealer, Due};
use super::pacer;
use super::socket::SocketMaker;
use crate::record::FirstFailure;
use crate::record::Plan;
use crate::recorder::outcome::Kind;
use crate::recorder::{Recorder, Sent};
use crate::workload::payload::{Payload, Sizes};
use crate::workload::schedule::Schedule;
use by_plan::ByPlan;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use nix::sys::socket::{MsgFlags, recv, send};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;

/// Events taken from the kernel at a time.
const EVENTS_PER_TURN: usize = 256;
/// Most bytes taken from one connection at a time, so that no client starves the others.
const RECEIVE_BYTES: usize = 256 * 1024;
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
    /// Connections of this worker that may be opening or unproven at a time.
    pub(super) window: usize,
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
    /// Whether EPOLLOUT is asked for.
    wants_write: bool,
    connection: Connection,
    /// Messages of the job that are not planned yet.
    left: u64,
    /// Number of the next message, over all connections.
    next_message: u64,
    /// Whether it stands in line for a message of the plan.
    in_line: bool,
    /// The message of the plan for which the connection is being opened.
    pending: Option<Due>,
}

/// The loop of one worker.
pub(super) struct EventLoop<'a> {
    setup: Setup<'a>,
    control: &'a Control,
    worker: usize,
    /// None in a closed loop.
    by_plan: Option<ByPlan<'a>>,
    /// Messages of one client that may be under way at the same time.
    depth: usize,
    timeout_ns: u64,
    epoll: Epoll,
    events: Vec<EpollEvent>,
    buffer: Box<[u8]>,
    sizes: Sizes,
    clients: Vec<Client>,
    /// Clients that want a connection now.
    to_open: VecDeque<usize>,
    /// Clients that want one later: due time and client, in order of time.
    to_retry: VecDeque<(u64, usize)>,
    command: Command,
    /// Messages planned from here on count.
    from_ns: u64,
    /// None is planned from here on.
    to_ns: u64,
    /// Whether the milestone of the command was told.
    told: bool,
    unproven: usize,
    proven: u64,
    in_flight: usize,
    left: u64,
    first_connect_ns: u64,
    last_end_ns: u64,
    /// When the run began, for the times of first failures.
    begun_ns: u64,
    next_sweep_ns: u64,
    /// The first client that the next sweep looks at.
    sweep_from: usize,
    pub(super) recorder: Recorder,
    /// Connections that ended otherwise than by both FINs, after all their echoes were there.
    pub(super) unclean_closes: u64,
    /// Bytes that came when nothing was outstanding.
    pub(super) surplus_bytes: u64,
    /// Failed attempts that are this machine's fault, not the server's: no source port, no descriptor.
    pub(super) local_failures: u64,
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
        let clients = (0..count)
            .map(|_| Client {
                socket: None,
                state: State::Closed,
                since_ns: 0,
                generation: 0,
                proven: true, // a closed client counts as proven, see `close`
                wants_write: false,
                connection: Connection::new(workload.pipeline as usize),
                left: 0,
                next_message: 0,
                in_line: false,
                pending: None,
            })
            .collect();
        let by_plan = workload.open_loop().map(|open| {
            let schedule = Schedule::new(open, setup.plan.seed);
            ByPlan::new(Dealer::new(&control.plan, worker, schedule), open.waiting, count)
        });
        Ok(Self {
            by_plan,
            depth: if workload.churn { 1 } else { workload.pipeline as usize },
            timeout_ns: setup.plan.timeout_ms * 1_000_000,
            control,
            worker,
            epoll,
            events: vec![EpollEvent::empty(); EVENTS_PER_TURN],
            buffer: vec![0; RECEIVE_BYTES].into_boxed_slice(),
            sizes,
            clients,
            to_open: VecDeque::with_capacity(count),
            to_retry: VecDeque::with_capacity(count),
            command: Command::Rest,
            from_ns: u64::MAX,
            to_ns: u64::MAX,
            told: true,
            unproven: 0,
            proven: 0,
            in_flight: 0,
            left: 0,
            first_connect_ns: u64::MAX,
            last_end_ns: 0,
            begun_ns,
            next_sweep_ns: 0,
            sweep_from: 0,
            recorder,
            unclean_closes: 0,
            surplus_bytes: 0,
            local_failures: 0,
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
            self.not_spinning();
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
        let mut until = self.next_sweep_ns;
        if let Some(&(due, _)) = self.to_retry.front() {
            until = until.min(due);
        }
        if self.command == Command::RunUntil && now < self.to_ns {
            until = until.min(self.to_ns);
        }
        let patience_ns = until.saturating_sub(now);
        Some(
            self.plan_patience_ns(now)
                .map_or(patience_ns, |plan| plan.min(patience_ns)),
        )
    }

    #[inline]
    fn serve(&mut self, token: u64, ready: EpollFlags) {
        let (slot, generation) = untoken(token);
        if self.clients[slot].generation != generation {
            return; // The event of a socket that was closed earlier in this turn.
        }
        if self.clients[slot].state == State::Connecting {
            self.connect_ended(slot);
            return;
        }
        if ready.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR) {
            self.receive(slot);
        }
        if ready.contains(EpollFlags::EPOLLOUT) && self.clients[slot].generation == generation {
            self.flush(slot);
        }
    }

    #[inline]
    fn receive(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let Some(socket) = &client.socket else { return };
        let bytes = match recv(socket.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
            Ok(0) => return self.peer_closed(slot),
            Ok(bytes) => bytes,
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Err(errno) => return self.broke(slot, errno),
        };
        let now = now_ns();
        let recorder = &mut self.recorder;
        let responses = &self.control.progress[self.worker].responses;
        recorder.totals.bytes_received += bytes as u64;
        if client.connection.in_flight() == 0 {
            return self.surplus(slot, bytes);
        }
        let mut answered = 0;
        let judged = client
            .connection
            .receive(&self.buffer[..bytes], self.setup.payload, |message| {
                answered += 1;
                responses.add(now - message.planned_ns);
                recorder.ok(message, slot, now);
            });
        recorder.totals.messages += answered as u64;
        self.in_flight -= answered;
        if answered > 0 {
            self.last_end_ns = now;
        }
        if let Err(mismatch) = judged {
            let text = format!("expected {}, got {}", hex(&mismatch.expected), hex(&mismatch.got));
            return self.fail(slot, Kind::Corrupted, mismatch.offset, &text);
        }
        if answered > 0 {
            self.answered(slot, now);
        }
    }

    /// What a client does once an echo is there.
    #[inline]
    fn answered(&mut self, slot: usize, now: u64) {
        let client = &mut self.clients[slot];
        if !client.proven {
            client.proven = true;
            self.unproven -= 1;
            self.proven += 1;
            let reached = &mut self.recorder.outcomes.connections.reached;
            *reached = (*reached).max(self.proven);
        }
        if !matches!(self.command, Command::RunUntil | Command::RunJob) {
            return;
        }
        if !self.setup.plan.workload.churn {
            if self.by_plan.is_some() {
                self.offer(slot);
            } else {
                self.plan_and_send(slot);
            }
        } else if self.goes_on(slot, now) {
            self.say_fin(slot);
        }
    }

    /// Whether the client has another message to send.
    fn goes_on(&self, slot: usize, now: u64) -> bool {
        match self.command {
            Command::RunUntil => now < self.to_ns,
            Command::RunJob => self.clients[slot].left > 0,
            _ => false,
        }
    }

    /// Plans as many messages as the pipeline and the stop rule allow, and sends.
    #[inline]
    fn plan_and_send(&mut self, slot: usize) {
        let number = self.setup.first_client + u32::try_from(slot).expect("a slot is below the number of clients");
        let client = &mut self.clients[slot];
        // In a closed loop the plan is the actual send: one look at the clock right before it.
        let now = now_ns();
        let message = Sent {
            planned_ns: now,
            sent_ns: now,
        };
        while client.connection.in_flight() < self.depth {
            match self.command {
                Command::RunJob if client.left > 0 => {
                    client.left -= 1;
                    self.left -= 1;
                }
                Command::RunUntil if now < self.to_ns => {}
                _ => break,
            }
            let bytes = self.sizes.of(number, client.next_message);
            client.connection.plan(message, bytes);
            client.next_message += 1;
            self.in_flight += 1;
            self.recorder.sent(message, 0);
        }
        self.flush(slot);
    }

    /// Sends what is planned, as far as the socket takes it.
    #[inline]
    fn flush(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let Some(socket) = &client.socket else { return };
        loop {
            let bytes = client.connection.to_send(self.setup.payload);
            if bytes.is_empty() {
                if client.wants_write {
                    client.wants_write = false;
                    self.ask_for(slot, EpollFlags::EPOLLIN);
                }
                return;
            }
            match send(socket.as_raw_fd(), bytes, MsgFlags::MSG_NOSIGNAL) {
                Ok(sent) => {
                    client.connection.sent(sent);
                    self.recorder.totals.bytes_sent += sent as u64;
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => {
                    if !client.wants_write {
                        client.wants_write = true;
                        self.ask_for(slot, EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT);
                    }
                    return;
                }
                Err(errno) => return self.broke(slot, errno),
            }
        }
    }

    fn ask_for(&self, slot: usize, interest: EpollFlags) {
        let client = &self.clients[slot];
        if let Some(socket) = &client.socket {
            let mut event = EpollEvent::new(interest, token(slot, client.generation));
            self.epoll.modify(socket, &mut event).expect("the socket is registered");
        }
    }

    /// A message failed: it takes the class, the others outstanding on this connection count as reset.
    fn fail(&mut self, slot: usize, kind: Kind, offset: u64, text: &str) {
        self.tell_first(slot, kind, offset, text);
        let now = now_ns();
        let mut class = kind;
        while let Some(message) = self.clients[slot].connection.abandon() {
            self.in_flight -= 1;
            self.recorder.failed(message, class, now);
            class = Kind::Reset;
        }
        self.last_end_ns = now;
        self.close(slot);
        self.reopen(slot);
    }

    fn tell_first(&mut self, slot: usize, kind: Kind, offset: u64, text: &str) {
        #[expect(clippy::cast_precision_loss, reason = "a time to read")]
        let at_s = now_ns().saturating_sub(self.begun_ns) as f64 / 1e9;
        let client = u64::from(self.setup.first_client) + slot as u64;
        self.recorder.outcomes.tell_first(kind, || FirstFailure {
            kind: kind.as_str().to_string(),
            at_s,
            client,
            offset,
            text: text.to_string(),
        });
    }

    fn obey(&mut self) {
        let command = self.control.command();
        if command == self.command {
            return;
        }
        self.command = command;
        self.told = false;
        let now = now_ns();
        self.next_sweep_ns = now + SWEEP_NS;
        match command {
            Command::Connect => {
                self.first_connect_ns = u64::MAX;
                self.to_open.extend(0..self.clients.len());
            }
            Command::RunJob => {
                self.first_connect_ns = u64::MAX;
                (self.from_ns, self.to_ns) = (now, u64::MAX);
                self.recorder.measure_from(now);
                for slot in 0..self.clients.len() {
                    let number =
                        self.setup.first_client + u32::try_from(slot).expect("a slot is below the number of clients");
                    let messages = self.setup.plan.workload.messages_of_client(number).unwrap_or(0);
                    self.clients[slot].left = messages;
                    self.left += messages;
                    if messages > 0 {
                        self.to_open.push_back(slot);
                    }
                }
            }
            Command::RunUntil => {
                (self.from_ns, self.to_ns) = self.control.measured();
                self.recorder.measure_from(self.from_ns);
                self.to_open.clear();
                self.to_retry.clear();
                if self.by_plan.is_some() {
                    return self.begin_plan(self.control.plan_start_ns());
                }
                for slot in 0..self.clients.len() {
                    let client = &self.clients[slot];
                    match client.state {
                        State::Open if client.connection.in_flight() == 0 => self.plan_and_send(slot),
                        State::Closed => self.to_open.push_back(slot),
                        _ => {}
                    }
                }
            }
            Command::Stop => {
                self.to_open.clear();
                self.to_retry.clear();
                for client in &mut self.clients {
                    client.left = 0;
                }
                self.left = 0;
            }
            Command::Drain => self.begin_drain(),
            Command::Rest | Command::Exit => self.told = true,
        }
    }

    fn begin_drain(&mut self) {
        let now = now_ns();
        self.to_open.clear();
        self.to_retry.clear();
        self.left = 0;
        for slot in 0..self.clients.len() {
            self.clients[slot].left = 0;
            let mut cut_off = false;
            if self.clients[slot].pending.is_some() {
                self.refuse_by_plan(slot, now);
            }
            while let Some(message) = self.clients[slot].connection.abandon() {
                self.in_flight -= 1;
                cut_off = true;
                self.recorder.cut_off(message, now);
            }
            match self.clients[slot].state {
                // Nothing more can be compared on a stream that was cut off in the middle.
                State::Open if cut_off => self.close(slot),
                State::Open => self.say_fin(slot),
                State::Connecting => self.close(slot),
                State::Closing | State::Closed => {}
            }
        }
    }

    fn milestone(&mut self) -> Option<Milestone> {
        let finished = Milestone::Finished {
            first_connect_ns: self.first_connect_ns,
            last_end_ns: self.last_end_ns,
        };
        match self.command {
            Command::Connect => (self.proven == u64::from(self.setup.clients)).then_some(Milestone::Connected),
            Command::RunJob => (self.left == 0 && self.in_flight == 0).then_some(finished),
            Command::RunUntil => {
                let now = now_ns();
                (self.in_flight == 0 && now >= self.to_ns && self.plan_is_over(now)).then_some(finished)
            }
            Command::Stop => (self.in_flight == 0).then_some(finished),
            Command::Drain => self
                .clients
                .iter()
                .all(|client| client.socket.is_none())
                .then_some(Milestone::Drained),
            Command::Rest | Command::Exit => None,
        }
    }

    /// Ends what has waited for too long.
    fn sweep(&mut self) {
        let now = now_ns();
        if now < self.next_sweep_ns || self.command == Command::Rest {
            return;
        }
        let (clients, from) = (self.clients.len(), self.sweep_from);
        let slice = clients.min(SWEEP_CLIENTS);
        self.next_sweep_ns = now + SWEEP_NS * slice as u64 / clients as u64;
        self.sweep_from = (from + slice) % clients;
        let connect_timeout_ns = self.setup.plan.connect_timeout_ms * 1_000_000;
        let closing_ns = if self.command == Command::Drain {
            self.control.drain_limit_ns()
        } else {
            CLOSING_NS
        };
        for slot in (from..from + slice).map(|slot| slot % clients) {
            let client = &self.clients[slot];
            let waited_ns = now.saturating_sub(client.since_ns);
            match client.state {
                State::Connecting if waited_ns >= connect_timeout_ns => self.connect_failed(slot, Errno::ETIMEDOUT),
                State::Closing if waited_ns >= closing_ns => {
                    self.unclean_closes += 1;
                    self.closed_by_plan(slot);
                }
                State::Open => {
                    let oldest_ns = client.connection.oldest_sent_ns();
                    if oldest_ns.is_some_and(|sent_ns| now.saturating_sub(sent_ns) >= self.timeout_ns) {
                        let offset = client.connection.received_offset();
                        self.fail(slot, Kind::Timeout, offset, "no whole echo in time");
                    }
                }
                _ => {}
            }
        }
    }

    fn publish_progress(&self) {
        let progress = &self.control.progress[self.worker];
        progress.ok.store(self.recorder.totals.messages, Ordering::Relaxed);
        progress
            .errors
            .store(self.recorder.outcomes.counts.errors(), Ordering::Relaxed);
        progress.proven.store(self.proven, Ordering::Relaxed);
    }
}

fn token(slot: usize, generation: u32) -> u64 {
    (slot as u64) << 32 | u64::from(generation)
}

fn untoken(token: u64) -> (usize, u32) {
    #[expect(clippy::cast_possible_truncation, reason = "the two halves are taken apart")]
    let (slot, generation) = ((token >> 32) as usize, token as u32);
    (slot, generation)
}

/// `connection reset by peer (ECONNRESET)`.
fn describe(errno: Errno) -> String {
    format!("{} ({errno:?})", errno.desc().to_lowercase())
}

fn hex(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".to_string();
    }
    bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<Vec<_>>()
        .join(" ")
}
