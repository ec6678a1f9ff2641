//! The row about overload: more is planned than the server can do, and then less again.

use super::holdups::{Watch, percentile_99, within};
use super::{Part, Row};
use crate::conformance::client::{Client, Look};
use crate::conformance::fault::{Fault, Verdict, ensure, failed};
use crate::conformance::isolation::{KIB, some_troubled};
use crate::conformance::server::Server;
use crate::conformance::{Check, Setting};
use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

/// Each read costs the server so much, and takes one message: so there is a known most that it can do.
const WORK: Setting = Setting::flags(&["--work", "1ms", "--buffer-size", "4KiB"]);
const MESSAGE_BYTES: u64 = 4096;

pub(super) const OVERLOAD: Row = Row {
    number: 17,
    title: "overload",
    does: "20 clients plan 0.5, 1.5, 3 and again 0.5 times what a server with --work 1ms answers at most, 1 s each (30 s in the \
           long form); what finds 16 messages under way on its connection is left out",
    asked: "at 3 times it answers at least 80 % of its most; within 5 s of the end the queue is gone and the p99 at most twice what \
            it was, or 20 ms; at most 64 KiB of memory more for each client",
    parts: &[Part::own(Check {
        name: "three times the load costs no goodput and leaves no queue",
        setting: WORK,
        make: overload,
    })],
};

fn overload(server: &mut Server) -> Verdict {
    const CLIENTS: usize = 20;
    const MOST_EACH: u64 = 64 * KIB;
    const SOON: Duration = Duration::from_secs(5);
    const FLOOR: Duration = Duration::from_millis(20);
    const LEAST_PERCENT: f64 = 80.0;
    let time = Duration::from_secs(server.profile.scale.pick(1, 30) as u64);
    let count = some_troubled(server)?.min(CLIENTS);
    let mut load = Load::of(server, count)?;
    let cpu = server.cpu_time()?;
    let peak = load.closed_loop(time)?;
    let at_peak = server.cpu_time()?.saturating_sub(cpu);
    let before = load.by_plan(peak * 0.5, time)?;
    load.empty(SOON)?;
    let memory = server.memory_bytes()?;
    load.by_plan(peak * 1.5, time)?;
    let cpu = server.cpu_time()?;
    let over = load.by_plan(peak * 3.0, time)?;
    let at_three = server.cpu_time()?.saturating_sub(cpu);
    let more = server.memory_bytes()?.saturating_sub(memory) / count as u64;
    let watch = Watch::start();
    let emptied = load.empty(SOON)?;
    let after = load.by_plan(peak * 0.5, time)?;
    if before.waits.is_empty() {
        return Err(Fault::NotChecked("no message was answered before the overload".into()));
    }
    ensure(!after.waits.is_empty(), || {
        "no message was answered after the overload".into()
    })?;
    let share = 100.0 * over.rate / peak;
    let (p99, p99_before) = (percentile_99(&after.waits), percentile_99(&before.waits));
    let figure = format!(
        "most {peak:.0}/s, at 3 times {share:.0} % of it ({} left out); the queue gone after {:.2} s; p99 {:.1} ms, {:.1} ms before; \
         {} KiB more for each client",
        over.left_out,
        emptied.as_secs_f64(),
        p99.as_secs_f64() * 1e3,
        p99_before.as_secs_f64() * 1e3,
        more / KIB
    );
    if over.left_out == 0 {
        return Err(Fault::NotChecked(format!("{figure}: that was no overload")));
    }
    if share < LEAST_PERCENT && at_three.mul_f64(100.0 / LEAST_PERCENT) < at_peak {
        return Err(Fault::NotChecked(format!(
            "{figure}; but this machine gave the server {:.2} s of CPU, and {:.2} s at its most",
            at_three.as_secs_f64(),
            at_peak.as_secs_f64()
        )));
    }
    ensure(share >= LEAST_PERCENT, || {
        format!("{figure}, expected at least {LEAST_PERCENT} %")
    })?;
    ensure(more <= MOST_EACH, || format!("{figure}, expected at most 64 KiB"))?;
    within(p99, (2 * p99_before).max(FLOOR), watch.end().p99(), &figure)?;
    load.finish()?;
    Ok(Some(figure))
}

/// Clients led by one thread that never waits for one of them.
struct Load {
    clients: Vec<Busy>,
}

struct Busy {
    client: Client,
    /// Bytes that it has begun to send.
    goal: u64,
    /// Of each message under way: when it was planned, and when all its bytes are back.
    under_way: VecDeque<(Instant, u64)>,
}

/// What came of a phase.
#[derive(Default)]
struct Phase {
    /// Messages answered within it, a second.
    rate: f64,
    left_out: u64,
    /// From the plan to the answer, of those answered within it, in ascending order.
    waits: Vec<Duration>,
}

impl Load {
    fn of(server: &mut Server, count: usize) -> Result<Self, Fault> {
        const BUFFER_BYTES: usize = 4096;
        let means = server.means()?;
        let mut clients = Vec::new();
        for mut client in server.connect_all(count)? {
            // So that what is too much waits here, where it is left out.
            means.limit_send_buffer(client.stream(), BUFFER_BYTES)?;
            client.ping(64)?;
            client.set_nonblocking(true)?;
            clients.push(Busy {
                goal: client.sender.sent,
                client,
                under_way: VecDeque::new(),
            });
        }
        Ok(Self { clients })
    }

    /// Each client sends when it has its answer; messages a second.
    fn closed_loop(&mut self, time: Duration) -> Result<f64, Fault> {
        let start = Instant::now();
        let mut answered = 0_u32;
        while start.elapsed() < time {
            for busy in &mut self.clients {
                if busy.under_way.is_empty() {
                    busy.begin(Instant::now());
                }
                answered += u32::try_from(busy.step()?.len()).unwrap_or(0);
            }
            thread::sleep(PAUSE);
        }
        let rate = f64::from(answered) / start.elapsed().as_secs_f64();
        ensure(answered > 0, || "no message was answered at all".into())?;
        Ok(rate)
    }

    /// Messages leave by plan, dealt to the clients in turn.
    fn by_plan(&mut self, per_second: f64, time: Duration) -> Result<Phase, Fault> {
        let start = Instant::now();
        let (gap, mut phase, mut planned) = (Duration::from_secs_f64(1.0 / per_second), Phase::default(), 0_u32);
        while start.elapsed() < time {
            while start.elapsed() >= gap * planned {
                let turn = planned as usize % self.clients.len();
                let busy = &mut self.clients[turn];
                if busy.has_enough() {
                    phase.left_out += 1;
                } else {
                    busy.begin(start + gap * planned);
                }
                planned += 1;
            }
            for busy in &mut self.clients {
                phase.waits.extend(busy.step()?);
            }
            thread::sleep(PAUSE);
        }
        let answered = u32::try_from(phase.waits.len()).unwrap_or(u32::MAX);
        phase.rate = f64::from(answered) / start.elapsed().as_secs_f64();
        phase.waits.sort_unstable();
        Ok(phase)
    }

    /// Waits until all is answered; how long that took.
    fn empty(&mut self, limit: Duration) -> Result<Duration, Fault> {
        let start = Instant::now();
        loop {
            for busy in &mut self.clients {
                busy.step()?;
            }
            let left: usize = self.clients.iter().map(|busy| busy.under_way.len()).sum();
            if left == 0 {
                return Ok(start.elapsed());
            }
            if start.elapsed() > limit {
                return Err(failed(format!(
                    "{left} messages were not answered {limit:?} after the load had ended"
                )));
            }
            thread::sleep(PAUSE);
        }
    }

    fn finish(self) -> Result<(), Fault> {
        for busy in self.clients {
            let mut client = busy.client;
            client.set_nonblocking(false)?;
            client.finish()?;
        }
        Ok(())
    }
}

/// Between two looks at all clients.
const PAUSE: Duration = Duration::from_micros(500);

impl Busy {
    /// Whether its socket has not taken yet what it has begun to send.
    fn is_full(&self) -> bool {
        self.client.sender.sent < self.goal
    }

    /// The queue of a server that cannot keep up would grow with the kernel's buffers, for seconds.
    fn has_enough(&self) -> bool {
        const MOST_UNDER_WAY: usize = 16;
        self.is_full() || self.under_way.len() >= MOST_UNDER_WAY
    }

    fn begin(&mut self, planned: Instant) {
        self.goal += MESSAGE_BYTES;
        self.under_way.push_back((planned, self.goal));
    }

    /// Sends and reads what goes without waiting; how long those waited that were answered.
    fn step(&mut self) -> Result<Vec<Duration>, Fault> {
        if self.is_full() {
            self.client.sender.push(self.goal)?;
        }
        loop {
            match self.client.receiver.look()? {
                Look::Nothing => break,
                Look::Bytes => {}
                Look::Fin => return Err(failed("FIN before the client's")),
            }
        }
        let (now, received) = (Instant::now(), self.client.receiver.received);
        let mut waits = Vec::new();
        while let Some(&(planned, _)) = self.under_way.front().filter(|&&(_, end)| end <= received) {
            waits.push(now.saturating_duration_since(planned));
            self.under_way.pop_front();
        }
        Ok(waits)
    }
}
