//! What the conductor's commands begin, when they are done, and what has waited for too long.

use super::{CLOSING_NS, EventLoop, Milestone, SWEEP_CLIENTS, SWEEP_NS, State};
use crate::engine::clock::now_ns;
use crate::engine::control::Command;
use crate::recorder::outcome::Kind;
use nix::errno::Errno;

impl EventLoop<'_> {
    /// Takes the conductor's command, if it is a new one.
    pub(super) fn obey(&mut self) {
        let command = self.control.command();
        if command == self.command {
            return;
        }
        self.command = command;
        self.told = false;
        self.next_sweep_ns = now_ns() + SWEEP_NS;
        match command {
            Command::Connect => {
                self.first_connect_ns = u64::MAX;
                self.to_open.extend(0..self.clients.len());
            }
            Command::RunJob => self.begin_job(),
            Command::RunUntil => self.begin_run(),
            Command::Stop => {
                self.end_early();
                self.plan_nothing_more();
            }
            Command::Drain => {
                self.end_early();
                self.begin_drain();
            }
            Command::Rest | Command::Exit => self.told = true,
        }
    }

    /// Deals the job's messages to the clients, and opens their connections.
    fn begin_job(&mut self) {
        self.first_connect_ns = u64::MAX;
        (self.from_ns, self.to_ns) = (now_ns(), u64::MAX);
        self.recorder.measure(self.from_ns, self.to_ns);
        for slot in 0..self.clients.len() {
            let number = self.setup.number(slot);
            let messages = self.setup.plan.workload.messages_of_client(number).unwrap_or(0);
            self.clients[slot].left = messages;
            self.left += messages;
            if messages > 0 {
                self.to_open.push_back(slot);
            }
        }
    }

    /// Begins the warm-up; the connections are there.
    fn begin_run(&mut self) {
        (self.from_ns, self.to_ns) = self.control.measured();
        self.recorder.measure(self.from_ns, self.to_ns);
        self.to_open.clear();
        self.to_retry.clear();
        if self.by_plan.is_some() {
            return self.begin_plan(self.control.plan_start_ns());
        }
        for slot in 0..self.clients.len() {
            let client = &self.clients[slot];
            match client.state {
                State::Open if self.is_used_up(slot) => self.say_fin(slot),
                State::Open if client.connection.in_flight() == 0 => self.plan_and_send(slot),
                State::Closed => self.to_open.push_back(slot),
                _ => {}
            }
        }
    }

    /// Where the conductor has ended the measured phase before its time, what ends from here on ends after it.
    fn end_early(&mut self) {
        let (from_ns, to_ns) = self.control.measured();
        if to_ns < self.to_ns {
            self.to_ns = to_ns;
            self.recorder.measure(from_ns, to_ns);
        }
    }

    fn plan_nothing_more(&mut self) {
        self.to_open.clear();
        self.to_retry.clear();
        self.left = 0;
        for client in &mut self.clients {
            client.left = 0;
        }
    }

    fn begin_drain(&mut self) {
        let now = now_ns();
        self.plan_nothing_more();
        for slot in 0..self.clients.len() {
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

    pub(super) fn milestone(&mut self) -> Option<Milestone> {
        let finished = Milestone::Finished {
            first_connect_ns: self.first_connect_ns,
            last_end_ns: self.last_end_ns,
        };
        match self.command {
            Command::Connect => (self.reached() == u64::from(self.setup.clients)).then_some(Milestone::Connected),
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
    pub(super) fn sweep(&mut self) {
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
}
