//! Rows about what adds up: descriptors after many connections, memory and rate over a long time.

use super::holdups::Watch;
use super::{Part, Row};
use crate::conformance::client::Client;
use crate::conformance::fault::{Fault, Verdict, ensure};
use crate::conformance::isolation::{holdings_at_rest, returns_to, some_troubled};
use crate::conformance::payload::Dice;
use crate::conformance::server::Server;
use crate::conformance::{Check, Means, Setting};
use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

pub(super) const DESCRIPTORS: Row = Row {
    number: 18,
    title: "descriptors",
    does: "2,000 connections (1,000,000 in the long form), up to 20 at a time, that end in six ways, in an order that dice choose",
    asked: "as many descriptors and children at the end as at the start",
    parts: &[Part::own(Check {
        name: "connections of mixed endings leave no descriptor and no child behind",
        setting: Setting::PROCESS,
        make: mixed_endings,
    })],
};

pub(super) const SOAK: Row = Row {
    number: 19,
    title: "soak",
    does: "ten clients that echo 1 KiB and rest for as long as that took, for 6 s (30 min in the long form, or --soak)",
    asked: "memory does not grow: the 95 % interval of its slope (Theil-Sen) begins below 1 MiB an hour; the rate at the end is at \
            least 0.5 of that at the start (0.98 in the long form)",
    parts: &[Part::own(Check {
        name: "over a long time the server's memory does not grow and its rate does not fall",
        setting: Setting::PROCESS,
        make: soak,
    })],
};

fn mixed_endings(server: &mut Server) -> Verdict {
    const AT_ONCE: usize = 20;
    const LOOK_EACH: usize = 500;
    let means = server.means()?;
    let count = server.profile.scale.pick(2_000, 1_000_000);
    let most_at_once = some_troubled(server)?.min(AT_ONCE);
    let before = holdings_at_rest(server)?;
    let mut dice = Dice::new(18);
    let mut live: VecDeque<Client> = VecDeque::new();
    let mut most = before.0;
    for number in 0..count {
        let mut client = server.connect()?;
        if dice.between(0, 4) > 0 {
            client.ping(64)?;
        }
        live.push_back(client);
        while live.len() >= dice.between(1, most_at_once) {
            let Some(client) = live.pop_front() else { break };
            end_somehow(client, dice.between(0, 5), &*means)?;
        }
        if number % LOOK_EACH == 0 {
            most = most.max(server.descriptors()?);
        }
    }
    live.into_iter().try_for_each(|mut client| client.finish())?;
    returns_to(server, before, &format!("{count} connections"))?;
    Ok(Some(format!(
        "{count} connections; {} descriptors before and after, {most} meanwhile",
        before.0
    )))
}

fn end_somehow(mut client: Client, way: usize, means: &dyn Means) -> Result<(), Fault> {
    match way {
        0 => client.finish()?,
        // Nothing is on its way: a FIN and no more.
        1 => {}
        2 => means.reset_on_close(client.stream())?,
        // The echo is still on its way: the kernel answers it with a reset.
        3 => client.sender.send(64)?,
        4 => client.sender.say_fin()?,
        _ => client.reset()?,
    }
    Ok(())
}

/// One look at the server.
#[derive(Clone, Copy)]
struct Sample {
    seconds: f64,
    memory_bytes: f64,
    echoes: f64,
}

#[expect(clippy::cast_precision_loss, reason = "bytes and counts here are far below 2^52")]
fn soak(server: &mut Server) -> Verdict {
    const CLIENTS: usize = 10;
    const SAMPLES: u32 = 60;
    let time = server.profile.soak;
    let mut clients = server.connect_all(server.profile.clients_at_once.min(CLIENTS))?;
    let watch = Watch::start();
    let (start, mut echoes, mut samples) = (Instant::now(), 0_u64, Vec::new());
    while start.elapsed() < time {
        let due = time / SAMPLES * u32::try_from(samples.len() + 1).unwrap_or(SAMPLES);
        while start.elapsed() < due {
            let busy = Instant::now();
            clients.iter_mut().try_for_each(|client| client.ping(1024))?;
            echoes += clients.len() as u64;
            thread::sleep(busy.elapsed());
        }
        samples.push(Sample {
            seconds: start.elapsed().as_secs_f64(),
            memory_bytes: server.memory_bytes()? as f64,
            echoes: echoes as f64,
        });
    }
    clients.iter_mut().try_for_each(Client::finish)?;
    judge(&samples, server.profile.scale.pick(50, 98), watch.end().p99())
}

/// The first third is warm-up.
fn judge(samples: &[Sample], least_percent: usize, hold_up: Duration) -> Verdict {
    /// A machine that holds up an idle thread for so long has a rate of its own.
    const BUSY: Duration = Duration::from_millis(5);
    const MIB_PER_HOUR: f64 = (1 << 20) as f64 / 3600.0;
    const FEWEST: usize = 12;
    let settled = &samples[samples.len() / 3..];
    if settled.len() < FEWEST {
        return Err(Fault::NotChecked(format!(
            "only {} looks at the server's memory",
            settled.len()
        )));
    }
    let (low, slope) = theil_sen(settled);
    let (first, last) = (
        rate(&settled[..settled.len() / 4]),
        rate(&settled[settled.len() * 3 / 4..]),
    );
    if first <= 0.0 {
        return Err(Fault::NotChecked(
            "the server was given no time for its first echoes".into(),
        ));
    }
    let percent = 100.0 * last / first;
    let figure = format!(
        "{:+.1} MiB an hour (from {:+.1}), the last quarter's rate {percent:.0} % of the first's",
        slope / MIB_PER_HOUR,
        low / MIB_PER_HOUR
    );
    ensure(low < MIB_PER_HOUR, || format!("memory grows: {figure}"))?;
    let least = u32::try_from(least_percent).map_or(100.0, f64::from);
    if percent < least {
        let text = format!("the rate falls: {figure}, expected at least {least} %");
        return Err(if hold_up < BUSY {
            Fault::Failed(text)
        } else {
            Fault::NotChecked(format!(
                "{text}; but this machine held up an idle thread for {hold_up:?}"
            ))
        });
    }
    Ok(Some(figure))
}

/// Echoes a second over these samples.
fn rate(samples: &[Sample]) -> f64 {
    match (samples.first(), samples.last()) {
        (Some(first), Some(last)) if last.seconds > first.seconds => {
            (last.echoes - first.echoes) / (last.seconds - first.seconds)
        }
        _ => 0.0,
    }
}

/// The lower end of the 95 % interval and the median of the slopes of all pairs (Sen 1968), in bytes per second. The interval's
/// rank is (N - 1.96 sqrt(n(n-1)(2n+5)/18)) / 2 of the N slopes in ascending order.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a rank among some thousand slopes"
)]
fn theil_sen(samples: &[Sample]) -> (f64, f64) {
    let mut slopes: Vec<f64> = samples
        .iter()
        .enumerate()
        .flat_map(|(at, one)| {
            samples[at + 1..]
                .iter()
                .map(move |other| (other.memory_bytes - one.memory_bytes) / (other.seconds - one.seconds))
        })
        .collect();
    slopes.sort_unstable_by(f64::total_cmp);
    let (n, pairs) = (samples.len() as f64, slopes.len() as f64);
    let spread = 1.96 * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let rank = ((pairs - spread) / 2.0).max(0.0).floor() as usize;
    (slopes[rank], slopes[slopes.len() / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(memory: impl Fn(f64) -> f64) -> Vec<Sample> {
        (1..=60)
            .map(f64::from)
            .map(|seconds| Sample {
                seconds,
                memory_bytes: memory(seconds),
                echoes: 1000.0 * seconds,
            })
            .collect()
    }

    #[test]
    fn a_leak_is_found_and_a_step_in_the_warm_up_and_noise_are_none() {
        let leak = judge(&samples(|at| 1e6 + 4096.0 * at), 98, Duration::ZERO);
        assert!(
            matches!(leak, Err(Fault::Failed(ref text)) if text.starts_with("memory grows: +14.1 MiB an hour")),
            "{leak:?}"
        );
        let step = judge(&samples(|at| if at < 5.0 { 1e6 } else { 2e6 }), 98, Duration::ZERO);
        assert!(step.is_ok(), "{step:?}");
        let noise = judge(&samples(|at| 1e6 + 4096.0 * (at * 7.0 % 5.0)), 98, Duration::ZERO);
        assert!(noise.is_ok(), "{noise:?}");
    }

    #[test]
    fn a_rate_that_falls_is_found() {
        let mut falling = samples(|_| 1e6);
        for (at, sample) in falling.iter_mut().enumerate().skip(45) {
            sample.echoes = 45_000.0 + 500.0 * f64::from(u32::try_from(at - 45).unwrap());
        }
        let judged = judge(&falling, 98, Duration::ZERO);
        assert!(
            matches!(judged, Err(Fault::Failed(ref text)) if text.contains("the rate falls")),
            "{judged:?}"
        );
    }

    #[test]
    fn a_rate_of_nothing_is_no_rate_to_compare_with() {
        let mut late = samples(|_| 1e6);
        for sample in late.iter_mut().take(40) {
            sample.echoes = 0.0;
        }
        let judged = judge(&late, 50, Duration::ZERO);
        assert!(matches!(judged, Err(Fault::NotChecked(_))), "{judged:?}");
    }

    #[test]
    fn too_few_looks_show_nothing() {
        assert!(matches!(
            judge(&samples(|_| 1.0)[..10], 98, Duration::ZERO),
            Err(Fault::NotChecked(_))
        ));
    }
}
