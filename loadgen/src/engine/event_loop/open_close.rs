//! How a client's connection begins and ends: connect(), the first echo, FIN, failure, another attempt.

use super::{EventLoop, RETRY_NS, State, describe, token};
use crate::engine::clock::now_ns;
use crate::engine::control::Command;
use crate::record::CloseBy;
use crate::recorder::Sent;
use crate::recorder::outcome::Kind;
use nix::errno::Errno;
use nix::libc::linger;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use nix::sys::socket::{Shutdown, getsockopt, setsockopt, shutdown, sockopt};
use std::os::fd::AsRawFd;

impl EventLoop<'_> {
    /// Opens connections as far as the window allows.
    pub(super) fn open_some(&mut self) {
        if self.to_retry.is_empty() && self.to_open.is_empty() {
            return;
        }
        let now = now_ns();
        while let Some(&(due, slot)) = self.to_retry.front()
            && due <= now
        {
            self.to_retry.pop_front();
            self.to_open.push_back(slot);
        }
        while let Some(&slot) = self.to_open.front() {
            if let Err(again_ns) = self.control.turnstile.enter(now) {
                self.opens_at_ns = again_ns;
                break;
            }
            self.to_open.pop_front();
            self.open(slot);
        }
    }

    /// Opens a connection that the turnstile has let in.
    pub(super) fn open(&mut self, slot: usize) {
        let number = self.setup.number(slot);
        let now = now_ns();
        self.first_connect_ns = self.first_connect_ns.min(now);
        let client = &mut self.clients[slot];
        client.generation += 1;
        client.since_ns = now;
        client.proven = false;
        client.wants_write = false;
        let stream = self.setup.payload.stream(number, client.generation);
        client.connection.restart(stream);
        match self.setup.sockets.open(number) {
            Ok((socket, established)) => {
                let interest = if established {
                    EpollFlags::EPOLLIN
                } else {
                    EpollFlags::EPOLLOUT
                };
                let event = EpollEvent::new(interest, token(slot, client.generation));
                client.state = State::Connecting;
                let registered = self.epoll.add(&socket, event);
                client.socket = Some(socket);
                match registered {
                    Err(errno) => self.connect_failed(slot, errno),
                    Ok(()) if established => self.established(slot),
                    Ok(()) => {}
                }
            }
            Err(errno) => self.connect_failed(slot, errno),
        }
    }

    pub(super) fn connect_ended(&mut self, slot: usize) {
        let Some(socket) = &self.clients[slot].socket else {
            return;
        };
        match getsockopt(socket, sockopt::SocketError).map(Errno::from_raw) {
            Ok(errno) if errno as i32 == 0 => {
                self.ask_for(slot, EpollFlags::EPOLLIN);
                self.established(slot);
            }
            Ok(errno) | Err(errno) => self.connect_failed(slot, errno),
        }
    }

    pub(super) fn established(&mut self, slot: usize) {
        let now = now_ns();
        let client = &mut self.clients[slot];
        client.state = State::Open;
        let begun_ns = client.since_ns;
        let took_ns = now - begun_ns;
        let timed = client.since_ns >= self.from_ns && client.since_ns < self.to_ns;
        // With churn only the connections of the measured phase count; else all that the clients needed to be there.
        if timed || !self.setup.plan.workload.churn {
            self.recorder.connect.record(took_ns);
        }
        self.recorder.totals.connections += 1;
        self.recorder.connections_timed += u64::from(timed);
        client.since_ns = now;
        self.recorder.outcomes.connections.renewed += u64::from(client.renews);
        client.renews = false;
        if self.command == Command::Connect {
            self.greet(slot);
        } else if self.by_plan.is_some() && !self.clients[slot].is_beside {
            self.send_pending(slot, begun_ns);
        } else {
            self.plan_and_send(slot);
        }
    }

    /// Sends what proves a connection before the run: as many messages as may be under way, since some servers wait for them. They
    /// are planned before `from_ns`, so they do not count.
    pub(super) fn greet(&mut self, slot: usize) {
        let number = self.setup.number(slot);
        let client = &mut self.clients[slot];
        let now = now_ns();
        let message = Sent {
            planned_ns: now,
            sent_ns: now,
        };
        while client.has_room(self.carries) {
            let bytes = match client.is_beside {
                true => self.size_beside,
                false => self.sizes.of(number, client.next_message),
            };
            client.connection.plan(message, bytes);
            client.next_message += 1;
            self.in_flight += 1;
        }
        self.flush(slot);
    }

    /// A connection could not be had: in a closed loop this costs the client its next message.
    pub(super) fn connect_failed(&mut self, slot: usize, errno: Errno) {
        self.failures += 1;
        let timed_out = errno == Errno::ETIMEDOUT;
        if matches!(
            errno,
            Errno::EADDRNOTAVAIL | Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM
        ) {
            self.local_failures += 1;
            self.port_failures += u64::from(errno == Errno::EADDRNOTAVAIL);
        } else if timed_out {
            self.recorder.outcomes.connections.timeout += 1;
        } else {
            self.recorder.outcomes.connections.refused += 1;
        }
        let now = now_ns();
        let is_closed_loop = self.by_plan.is_none();
        let client = &mut self.clients[slot];
        let costs_a_message = match self.command {
            Command::RunJob if client.left > 0 => {
                client.left -= 1;
                self.left -= 1;
                true
            }
            Command::RunUntil => is_closed_loop && now < self.to_ns,
            _ => false,
        };
        self.tell_first(slot, Kind::Refused, 0, &format!("connect: {}", describe(errno)));
        if costs_a_message {
            let message = Sent {
                planned_ns: now,
                sent_ns: now,
            };
            self.recorder.refused(message, 0, now);
            self.last_end_ns = now;
        } else if !is_closed_loop {
            self.refuse_by_plan(slot, now);
        }
        self.close(slot);
        self.open_again(slot, now + RETRY_NS);
    }

    /// Puts the client in line for another connection, if it has a use for one.
    pub(super) fn open_again(&mut self, slot: usize, due_ns: u64) {
        if self.by_plan.is_some() && self.setup.plan.workload.churn && self.command == Command::RunUntil {
            // Its next connection is opened for its next message.
            return self.offer(slot);
        }
        let wanted = match self.command {
            Command::Connect => true,
            Command::RunJob => self.clients[slot].left > 0,
            Command::RunUntil => due_ns < self.to_ns,
            Command::Rest | Command::Stop | Command::Drain | Command::Exit => false,
        };
        if wanted {
            self.to_retry.push_back((due_ns, slot));
        }
    }

    /// Half-closes after a client's last message on this connection; the server's FIN completes it. Or resets it, where the
    /// workload says so: nothing is waited for then.
    pub(super) fn say_fin(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        let Some(socket) = &client.socket else { return };
        client.state = State::Closing;
        client.since_ns = now_ns();
        if self.close_by == CloseBy::Rst {
            let at_once = linger {
                l_onoff: 1,
                l_linger: 0,
            };
            self.unclean_closes += u64::from(setsockopt(socket, sockopt::Linger, &at_once).is_err());
            return self.closed_by_plan(slot);
        }
        if shutdown(socket.as_raw_fd(), Shutdown::Write).is_err() {
            self.unclean_closes += 1;
            self.closed_by_plan(slot);
        }
    }

    pub(super) fn peer_closed(&mut self, slot: usize) {
        match self.clients[slot].state {
            State::Closing => self.closed_by_plan(slot),
            _ if self.clients[slot].connection.in_flight() > 0 => {
                let connection = &self.clients[slot].connection;
                let offset = connection.received_offset();
                if connection.is_within_reply() {
                    self.fail(slot, Kind::Truncated, offset, "end of stream before the last byte");
                } else {
                    let answers = connection.taken() - connection.in_flight() as u64;
                    self.recorder.outcomes.connections.ended_after(answers);
                    self.fail(
                        slot,
                        Kind::Closed,
                        offset,
                        "end of stream before the first byte of the reply",
                    );
                }
            }
            _ => self.idle_connection_ended(slot),
        }
    }

    /// The connection failed in the kernel.
    pub(super) fn broke(&mut self, slot: usize, errno: Errno) {
        let client = &self.clients[slot];
        if client.state == State::Closing {
            self.unclean_closes += 1;
            self.closed_by_plan(slot);
        } else if client.connection.in_flight() > 0 {
            let kind = if errno == Errno::ETIMEDOUT {
                Kind::Timeout
            } else {
                Kind::Reset
            };
            let offset = client.connection.received_offset();
            self.fail(slot, kind, offset, &describe(errno));
        } else {
            self.idle_connection_ended(slot);
        }
    }

    /// The end of a connection that the workload wanted to end.
    pub(super) fn closed_by_plan(&mut self, slot: usize) {
        self.close(slot);
        if !self.goes_on(slot, now_ns()) {
            return;
        }
        self.clients[slot].renews = true;
        if self.by_plan.is_some() && self.setup.plan.workload.churn {
            self.offer(slot);
        } else {
            self.to_open.push_back(slot);
        }
    }

    /// The server ended a connection on which nothing was owed. That is its right where it has carried all that it should.
    pub(super) fn idle_connection_ended(&mut self, slot: usize) {
        if self.is_used_up(slot) {
            return self.closed_by_plan(slot);
        }
        self.unclean_closes += 1;
        self.close(slot);
        self.reopen(slot);
    }

    pub(super) fn reopen(&mut self, slot: usize) {
        let before = self.to_retry.len();
        self.open_again(slot, now_ns());
        self.recorder.outcomes.connections.reopened += (self.to_retry.len() - before) as u64;
    }

    /// Bytes came though nothing was outstanding: the server echoes more than it got.
    pub(super) fn surplus(&mut self, slot: usize, bytes: usize) {
        self.surplus_bytes += bytes as u64;
        let offset = self.clients[slot].connection.received_offset();
        self.tell_first(
            slot,
            Kind::Corrupted,
            offset,
            &format!("{bytes} bytes more than were sent"),
        );
        self.idle_connection_ended(slot);
    }

    /// Closes the socket, whatever its state.
    pub(super) fn close(&mut self, slot: usize) {
        let client = &mut self.clients[slot];
        if client.state == State::Closed && client.socket.is_none() && client.proven {
            return;
        }
        if client.proven {
            self.proven -= 1;
        } else {
            self.control.turnstile.leave();
        }
        // A closed client counts as proven, so that closing it again changes nothing.
        client.proven = true;
        client.state = State::Closed;
        client.socket = None;
    }
}
