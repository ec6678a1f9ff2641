//! The open loop: messages of the plan leave at their times by whatever client is free.
//!
//! So response time runs from the plan, service time from the actual send, and send lag is what loadgen itself was late:
//! from the planned time, or from when a client became free if that was later, to the actual send.
//!
//! A client is free when its pipeline has room; with a connection per message, when it has none. Free clients stand in
//! line and are dealt messages in turn. When none is free the messages wait in the plan, and their waiting counts in the
//! response time.

use super::{EventLoop, State};
use crate::engine::clock::now_ns;
use crate::engine::control::Command;
use crate::engine::dealer::{Dealer, Due};
use crate::engine::pacer;
use crate::record::Waiting;
use crate::recorder::Sent;
use std::collections::VecDeque;

/// What an event loop needs to send by plan.
pub(super) struct ByPlan<'a> {
    dealer: Dealer<'a>,
    waiting: Waiting,
    /// Clients that can take a message; some may have lost their connection since.
    free: VecDeque<usize>,
    /// When somebody came after nobody had been free.
    free_since_ns: u64,
}

impl<'a> ByPlan<'a> {
    pub(super) fn new(dealer: Dealer<'a>, waiting: Waiting, clients: usize) -> Self {
        Self {
            dealer,
            waiting,
            free: VecDeque::with_capacity(clients),
            free_since_ns: 0,
        }
    }
}

impl EventLoop<'_> {
    /// Begins the plan; every client that is connected stands in line.
    pub(super) fn begin_plan(&mut self, start_ns: u64) {
        let Some(by_plan) = &mut self.by_plan else { return };
        by_plan.dealer.begin(start_ns, self.to_ns);
        by_plan.free.clear();
        by_plan.free_since_ns = start_ns;
        by_plan.dealer.say_busy(false);
        for slot in 0..self.clients.len() {
            self.clients[slot].in_line = false;
            match self.clients[slot].state {
                State::Open if self.is_used_up(slot) => self.say_fin(slot),
                State::Open if self.clients[slot].is_beside => self.plan_and_send(slot),
                State::Open => self.offer(slot),
                State::Closed if self.setup.plan.workload.churn => self.offer(slot),
                State::Closed => self.to_open.push_back(slot),
                State::Connecting | State::Closing => {}
            }
        }
        // Where none of its clients sends, the messages are others' from the first on.
        if let Some(by_plan) = self.by_plan.as_mut().filter(|by_plan| by_plan.free.is_empty()) {
            by_plan.dealer.say_busy(true);
        }
    }

    /// Puts a client in line for a message, if it can take one and does not stand there.
    #[inline]
    pub(super) fn offer(&mut self, slot: usize) {
        let Some(by_plan) = &mut self.by_plan else { return };
        let client = &mut self.clients[slot];
        if client.is_active && !client.in_line && !client.is_beside && client.has_room(self.carries) {
            client.in_line = true;
            if by_plan.dealer.is_busy() {
                by_plan.free_since_ns = now_ns();
                by_plan.dealer.say_busy(false);
            }
            by_plan.free.push_back(slot);
        }
    }

    /// Sends what is due, as far as clients are free.
    #[inline]
    pub(super) fn send_due(&mut self) {
        if self.command != Command::RunUntil || self.by_plan.is_none() {
            return;
        }
        while let Some((slot, due)) = self.take_due() {
            self.deal(slot, due);
        }
    }

    /// A free client and the message it is to send; none while nothing is due or nobody is free.
    #[inline]
    fn take_due(&mut self) -> Option<(usize, Due)> {
        let now = now_ns();
        // What still waits in the plan when the timeout has passed after its end is dropped.
        if now >= self.to_ns.saturating_add(self.timeout_ns) {
            return None;
        }
        if self.by_plan.as_mut()?.dealer.wake_ns()? > now {
            return None;
        }
        let slot = self.next_free(now)?;
        let by_plan = self.by_plan.as_mut()?;
        match by_plan.dealer.take(now) {
            Some(due) => {
                self.spins_since_ns = None;
                let could_ns = due.planned_ns.max(by_plan.free_since_ns);
                Some((slot, Due { could_ns, ..due }))
            }
            None => {
                // Another worker was faster.
                if self.clients[slot].state == State::Closed {
                    self.control.turnstile.leave();
                }
                self.clients[slot].in_line = true;
                by_plan.free.push_front(slot);
                None
            }
        }
    }

    /// Takes the first in line who can still send; one without a connection may open it.
    #[inline]
    fn next_free(&mut self, now: u64) -> Option<usize> {
        let by_plan = self.by_plan.as_mut()?;
        while let Some(slot) = by_plan.free.pop_front() {
            let client = &mut self.clients[slot];
            client.in_line = false;
            match client.state {
                State::Open if client.has_room(self.carries) => return Some(slot),
                State::Closed if self.setup.plan.workload.churn => match self.control.turnstile.enter(now) {
                    Ok(()) => return Some(slot),
                    Err(again_ns) => {
                        self.opens_at_ns = again_ns;
                        client.in_line = true;
                        by_plan.free.push_front(slot);
                        break;
                    }
                },
                _ => {}
            }
        }
        by_plan.dealer.say_busy(true);
        None
    }

    #[inline]
    fn deal(&mut self, slot: usize, due: Due) {
        if self.clients[slot].state == State::Open {
            let sent_ns = now_ns();
            self.send_planned(slot, due, sent_ns, sent_ns);
            self.offer(slot);
        } else {
            // With a connection per message sending begins with connect().
            self.clients[slot].pending = Some(due);
            self.in_flight += 1;
            self.open(slot);
        }
        if let Some(by_plan) = &mut self.by_plan
            && by_plan.free.is_empty()
        {
            by_plan.dealer.say_busy(true);
        }
    }

    /// Sends the message for which this connection was opened at `begun_ns`.
    pub(super) fn send_pending(&mut self, slot: usize, begun_ns: u64) {
        match self.clients[slot].pending.take() {
            Some(due) => {
                self.in_flight -= 1;
                self.send_planned(slot, due, begun_ns, now_ns());
            }
            None => self.offer(slot),
        }
    }

    #[inline]
    fn send_planned(&mut self, slot: usize, due: Due, begun_ns: u64, sent_ns: u64) {
        let message = Sent {
            planned_ns: due.planned_ns,
            sent_ns,
        };
        // Sizes follow the plan, whoever sends.
        let bytes = self.sizes.of(0, due.index);
        self.clients[slot].connection.plan(message, bytes);
        self.in_flight += 1;
        self.recorder.sent(message, begun_ns.saturating_sub(due.could_ns));
        self.flush(slot);
    }

    /// A connection could not be had. The message it was opened for is lost; any other waits for another client, unless
    /// no client of any worker is connected: then nobody could send it.
    pub(super) fn refuse_by_plan(&mut self, slot: usize, now: u64) {
        let message = match self.clients[slot].pending.take() {
            Some(due) => {
                self.in_flight -= 1;
                Some((due, self.clients[slot].since_ns))
            }
            None if self.command == Command::RunUntil && self.proven == 0 && self.control.sums().proven == 0 => {
                let by_plan = self.by_plan.as_mut().expect("asked in an open loop only");
                by_plan.dealer.take(now).map(|due| (Due { could_ns: now, ..due }, now))
            }
            None => None,
        };
        if let Some((due, sent_ns)) = message {
            let planned_ns = due.planned_ns;
            let lag_ns = sent_ns.saturating_sub(due.could_ns);
            self.recorder.refused(Sent { planned_ns, sent_ns }, lag_ns, now);
            self.last_end_ns = now;
        }
    }

    /// How long the plan lets the loop sleep; none when it does not limit it.
    #[inline]
    pub(super) fn plan_patience_ns(&mut self, now: u64) -> Option<u64> {
        let is_running = self.command == Command::RunUntil;
        let by_plan = self.by_plan.as_mut()?;
        let &first = by_plan.free.front()?;
        if !is_running {
            return None;
        }
        // What is due may have to wait until a connection may be opened.
        if self.clients[first].state == State::Closed && self.opens_at_ns > now {
            return Some(self.opens_at_ns - now);
        }
        let left_ns = by_plan.dealer.wake_ns()?.saturating_sub(now);
        let sleep_ns = pacer::sleep_ns(by_plan.waiting, left_ns);
        if sleep_ns == 0 && left_ns > 0 {
            self.spins_since_ns = Some(now);
        }
        Some(sleep_ns)
    }

    /// Whether nothing of the plan is left to send, or it is too late to.
    pub(super) fn plan_is_over(&mut self, now: u64) -> bool {
        let too_late = now >= self.to_ns.saturating_add(self.timeout_ns);
        self.by_plan
            .as_mut()
            .is_none_or(|by_plan| too_late || by_plan.dealer.is_over())
    }
}
