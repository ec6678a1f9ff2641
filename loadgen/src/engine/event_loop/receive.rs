//! What comes from the sockets is judged, and answered with the next message: receive, compare, plan, send.

use super::{EventLoop, RECEIVE_BYTES, RECEIVE_BYTES_BESIDE, State, token, untoken};
use crate::engine::clock::now_ns;
use crate::engine::control::Command;
use crate::record::FirstFailure;
use crate::recorder::Sent;
use crate::recorder::outcome::Kind;
use crate::units::ns_to_s;
use nix::errno::Errno;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{MsgFlags, recv, send};
use std::os::fd::AsRawFd;

impl EventLoop<'_> {
    #[inline]
    pub(super) fn serve(&mut self, token: u64, ready: EpollFlags) {
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
    pub(super) fn receive(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let Some(socket) = &client.socket else { return };
        let room = match client.is_beside {
            true => RECEIVE_BYTES_BESIDE,
            false => RECEIVE_BYTES,
        };
        let bytes = match recv(socket.as_raw_fd(), &mut self.buffer[..room], MsgFlags::empty()) {
            Ok(0) => return self.peer_closed(slot),
            Ok(bytes) => bytes,
            Err(Errno::EAGAIN | Errno::EINTR) => return,
            Err(errno) => return self.broke(slot, errno),
        };
        let now = now_ns();
        let recorder = &mut self.recorder;
        let responses = &self.control.gauges[self.worker].responses;
        recorder.totals.bytes_received += bytes as u64;
        if client.connection.in_flight() == 0 {
            return self.surplus(slot, bytes);
        }
        let (is_beside, size_beside) = (client.is_beside, self.size_beside);
        let mut answered = 0;
        let judged = client
            .connection
            .receive(&self.buffer[..bytes], &mut self.source, now, |message| {
                answered += 1;
                if is_beside {
                    recorder.beside_ok(size_beside, now);
                } else {
                    responses.add(now - message.planned_ns);
                    recorder.ok(message, slot, now);
                }
            });
        recorder.totals.messages += answered as u64;
        self.in_flight -= answered;
        if answered > 0 {
            self.last_end_ns = now;
        }
        match judged {
            Ok(has_halted) => recorder.halted(has_halted, now),
            Err(mismatch) => {
                let text = format!("expected {}, got {}", hex(&mismatch.expected), hex(&mismatch.got));
                return self.fail(slot, Kind::Corrupted, mismatch.offset, &text);
            }
        }
        if answered > 0 {
            self.answered(slot, now);
        }
    }

    /// What a client does once an echo is there.
    #[inline]
    pub(super) fn answered(&mut self, slot: usize, now: u64) {
        let client = &mut self.clients[slot];
        // Before the run a connection is proven when all is there that was sent.
        if !client.proven && (self.command != Command::Connect || client.connection.in_flight() == 0) {
            client.proven = true;
            self.served += u64::from(!client.served);
            client.served = true;
            self.proven += 1;
            self.control.turnstile.leave();
            let now_reached = self.reached();
            let reached = &mut self.recorder.outcomes.connections.reached;
            *reached = (*reached).max(now_reached);
        }
        if !matches!(self.command, Command::RunUntil | Command::RunJob) {
            return;
        }
        if self.is_used_up(slot) {
            if self.goes_on(slot, now) {
                self.say_fin(slot);
            }
        } else if self.by_plan.is_some() && !self.clients[slot].is_beside {
            self.offer(slot);
        } else {
            self.plan_and_send(slot);
        }
    }

    /// Clients that are connected and have had an echo; where connections are given up on purpose, clients that have had one.
    pub(super) fn reached(&self) -> u64 {
        if self.carries == u64::MAX {
            self.proven
        } else {
            self.served
        }
    }

    /// Whether the connection has carried all that it should.
    #[inline]
    pub(super) fn is_used_up(&self, slot: usize) -> bool {
        let connection = &self.clients[slot].connection;
        connection.in_flight() == 0 && connection.taken() >= self.carries
    }

    /// Whether the client has another message to send.
    pub(super) fn goes_on(&mut self, slot: usize, now: u64) -> bool {
        match self.command {
            Command::RunUntil if self.by_plan.is_some() => !self.plan_is_over(now),
            Command::RunUntil => now < self.to_ns,
            Command::RunJob => self.clients[slot].left > 0,
            _ => false,
        }
    }

    /// Plans as many messages as the pipeline and the stop rule allow, and sends.
    #[inline]
    pub(super) fn plan_and_send(&mut self, slot: usize) {
        let number = self.setup.number(slot);
        let client = &mut self.clients[slot];
        // In a closed loop the plan is the actual send: one look at the clock right before it.
        let now = now_ns();
        let message = match client.is_beside {
            true => Sent::beside(now),
            false => Sent {
                planned_ns: now,
                sent_ns: now,
            },
        };
        while client.has_room(self.carries) {
            match self.command {
                Command::RunJob if client.left > 0 => {
                    client.left -= 1;
                    self.left -= 1;
                }
                Command::RunUntil if now < self.to_ns => {}
                _ => break,
            }
            let bytes = match client.is_beside {
                true => self.size_beside,
                false => self.sizes.of(number, client.next_message),
            };
            client.connection.plan(message, bytes);
            client.next_message += 1;
            self.in_flight += 1;
            self.recorder.sent(message, 0);
        }
        self.flush(slot);
    }

    /// Sends what is planned, as far as the socket takes it.
    #[inline]
    pub(super) fn flush(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let Some(socket) = &client.socket else { return };
        loop {
            let bytes = client.connection.to_send(&mut self.source);
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

    pub(super) fn ask_for(&self, slot: usize, interest: EpollFlags) {
        let client = &self.clients[slot];
        if let Some(socket) = &client.socket {
            let mut event = EpollEvent::new(interest, token(slot, client.generation));
            self.epoll.modify(socket, &mut event).expect("the socket is registered");
        }
    }

    /// A message failed: it takes the class, the others outstanding on this connection count as reset.
    pub(super) fn fail(&mut self, slot: usize, kind: Kind, offset: u64, text: &str) {
        self.tell_first(slot, kind, offset, text);
        let now = now_ns();
        let mut class = kind;
        let is_beside = self.clients[slot].is_beside;
        while let Some(message) = self.clients[slot].connection.abandon() {
            self.in_flight -= 1;
            self.failures += 1;
            self.recorder.beside.failed += u64::from(is_beside);
            self.recorder.failed(message, class, now);
            class = Kind::Reset;
        }
        self.last_end_ns = now;
        self.close(slot);
        self.reopen(slot);
    }

    pub(super) fn tell_first(&mut self, slot: usize, kind: Kind, offset: u64, text: &str) {
        let at_s = ns_to_s(now_ns().saturating_sub(self.begun_ns));
        let client = u64::from(self.setup.number(slot));
        self.recorder.outcomes.tell_first(kind, || FirstFailure {
            kind: kind.as_str().to_string(),
            at_s,
            client,
            offset,
            text: text.to_string(),
        });
    }
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
