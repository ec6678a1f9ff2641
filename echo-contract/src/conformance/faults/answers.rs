//! A client that behaves, and what it sees while others do not.

use super::holdups::{Watch, percentile_99, within};
use crate::conformance::client::Client;
use crate::conformance::fault::Fault;
use crate::conformance::server::Server;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two of its messages.
const PACE: Duration = Duration::from_millis(1);
/// How long it is watched before the trouble begins.
const BEFORE: Duration = Duration::from_millis(300);

/// How long the good client waited for its answers.
pub(super) struct Answers {
    before: Vec<Duration>,
    meanwhile: Vec<Duration>,
    hold_up: Duration,
}

/// Lets a client send 64 B each millisecond, at first alone and then beside `trouble`.
pub(super) fn beside<T>(
    server: &mut Server,
    trouble: impl FnOnce(&mut Server) -> Result<T, Fault>,
) -> Result<(T, Answers), Fault> {
    if server.profile.clients_at_once < 2 {
        return Err(Fault::NotChecked("the server takes one client at a time".into()));
    }
    let mut client = server.connect()?;
    client.ping(64)?;
    let start = Instant::now();
    let before = ask(&mut client, &|| start.elapsed() >= BEFORE)?;
    let is_over = AtomicBool::new(false);
    let watch = Watch::start();
    let (made, meanwhile) = thread::scope(|scope| {
        let asking = scope.spawn(|| ask(&mut client, &|| is_over.load(Relaxed)));
        let made = trouble(server);
        is_over.store(true, Relaxed);
        let meanwhile = asking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        (made, meanwhile)
    });
    let hold_up = watch.end().p99();
    let answers = Answers {
        before,
        meanwhile: meanwhile.map_err(|fault| fault.when("a client that does nothing wrong"))?,
        hold_up,
    };
    let made = made?;
    client.finish()?;
    Ok((made, answers))
}

/// Asks until told; how long each answer took, in ascending order.
fn ask(client: &mut Client, is_over: &dyn Fn() -> bool) -> Result<Vec<Duration>, Fault> {
    let mut answers = Vec::new();
    while !is_over() {
        let sent = Instant::now();
        client.ping(64)?;
        answers.push(sent.elapsed());
        thread::sleep(PACE);
    }
    answers.sort_unstable();
    Ok(answers)
}

impl Answers {
    /// `p99 0.8 ms of 1200 answers, 0.2 ms before`.
    pub(super) fn figure(&self) -> String {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        format!(
            "another client's p99 {:.1} ms of {} answers, {:.1} ms before",
            ms(percentile_99(&self.meanwhile)),
            self.meanwhile.len(),
            ms(percentile_99(&self.before))
        )
    }

    /// Fails above this 99th percentile. A few quick answers show nothing; a few slow ones do.
    pub(super) fn expect_p99(&self, limit: Duration) -> Result<(), Fault> {
        const FEWEST: usize = 10;
        within(percentile_99(&self.meanwhile), limit, self.hold_up, &self.figure())?;
        if self.meanwhile.len() < FEWEST {
            return Err(Fault::NotChecked(format!("{}: too few answers", self.figure())));
        }
        Ok(())
    }

    /// Fails above twice what it was before; below this floor all is well.
    pub(super) fn expect_as_before(&self, floor: Duration) -> Result<(), Fault> {
        self.expect_p99((2 * percentile_99(&self.before)).max(floor))
    }
}
