//! How figures are printed, the same in every report: three significant digits, a unit, thousands apart.

use crate::record::Latency;
use crate::record::{Arrivals, Beside, CloseBy, OpenLoop, Pacing, Payload, Stop, Workload};
use crate::units::{count_f64, round_u64};
use std::time::Duration;

/// `12,345`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A rate or another figure without unit: `12,345`, `97.4`, `0.0312`.
#[must_use]
pub fn figure(number: f64) -> String {
    if !number.is_finite() {
        return "n/a".to_string();
    }
    let size = number.abs();
    if size >= 100.0 {
        return format!("{}{}", if number < 0.0 { "-" } else { "" }, count(round_u64(size)));
    }
    let decimals = match size {
        0.0 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ if size >= 0.0995 => 3,
        _ => 4,
    };
    format!("{number:.decimals$}")
}

/// `183 ns`, `18.3 us`, `1.83 ms`, `2.10 s`.
#[must_use]
pub fn time_ns(nanoseconds: u64) -> String {
    scaled(
        count_f64(nanoseconds),
        &[(1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")],
    )
}

/// `512 B`, `16.0 KiB`, `8.30 MiB`, `1.25 GiB`.
#[must_use]
pub fn bytes(number: u64) -> String {
    scaled(
        count_f64(number),
        &[
            (1024.0 * 1024.0 * 1024.0, "GiB"),
            (1024.0 * 1024.0, "MiB"),
            (1024.0, "KiB"),
            (1.0, "B"),
        ],
    )
}

/// `97 %`, `9.3 %`, `0.4 %`.
#[must_use]
pub fn percent(number: f64) -> String {
    if number.abs() >= 9.95 {
        format!("{number:.0} %")
    } else {
        format!("{number:.1} %")
    }
}

/// A percentile of this distribution, or why there is none: `n/a (1,000 samples)`.
#[must_use]
pub fn percentile(latency: &Latency, value: Option<u64>) -> String {
    match value {
        Some(value) => time_ns(value),
        None if latency.count == 0 => "n/a".to_string(),
        None if latency.count == 1 => "n/a (1 sample)".to_string(),
        None => format!("n/a ({} samples)", count(latency.count)),
    }
}

/// What the clients do, on one line: `1000 clients x 10 = 10,000 messages, 64 B, closed loop`.
#[must_use]
pub fn workload(workload: &Workload) -> String {
    let clients = match workload.measured_clients() {
        1 => "1 client".to_string(),
        many => format!("{many} clients"),
    };
    if workload.crash {
        return format!(
            "{clients} connected, then SIGABRT to the process that serves one of them; nothing is timed but the next client"
        );
    }
    let mut parts = vec![match workload.stop {
        Stop::MessagesPerClient(messages) => format!(
            "{clients} x {} = {} messages",
            count(messages),
            count(workload.messages_planned().unwrap_or_default())
        ),
        Stop::TotalMessages(messages) => format!("{clients}, {} messages", count(messages)),
        Stop::AfterMs(_) => clients,
    }];
    if let Some(active) = workload.active_clients.filter(|active| *active < workload.clients) {
        parts.push(format!("{} of them active", count(active.into())));
    }
    parts.push(sent(workload));
    if workload.pipeline > 1 {
        parts.push(format!("{} under way per client", workload.pipeline));
    }
    if workload.churn {
        parts.push("a connection per message".to_string());
    }
    if let Some(messages) = workload.messages_per_connection {
        parts.push(format!("a connection per {} messages", count(messages)));
    }
    if workload.close == CloseBy::Rst {
        parts.push("closed by reset".to_string());
    }
    parts.push(match &workload.pacing {
        Pacing::ClosedLoop => "closed loop".to_string(),
        Pacing::OpenLoop(open) => open_loop(open, workload.percent_of_saturated),
    });
    parts.extend(workload.beside.as_ref().map(beside));
    if let Some(duration) = workload.duration() {
        let measured = milliseconds(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX));
        parts.push(match workload.warmup_ms {
            0 => measured,
            warmup => format!("{} warm-up + {measured}", milliseconds(warmup)),
        });
    } else if workload.warmup_ms > 0 {
        parts.push(format!("{} warm-up", milliseconds(workload.warmup_ms)));
    }
    parts.join(", ")
}

/// `beside 1 client without pauses: 16 KiB, 64 under way`, `beside 1 client whose requests take 20ms each`.
fn beside(beside: &Beside) -> String {
    let clients = counted(beside.clients.into(), "client", "clients");
    match beside.work_ns {
        Some(work_ns) => format!(
            "beside {clients} whose requests take the server {} of CPU each",
            humantime::format_duration(Duration::from_nanos(work_ns))
        ),
        None => format!(
            "beside {clients} without pauses ({}, {} under way)",
            exact_bytes(beside.size_bytes),
            beside.pipeline
        ),
    }
}

/// What a message is: `64 B`, `64 B..1 KiB lines`, `312 B of request.bin`.
fn sent(workload: &Workload) -> String {
    let (least, most) = (
        exact_bytes(workload.size_min_bytes),
        exact_bytes(workload.size_max_bytes),
    );
    let size = if least == most {
        least
    } else {
        format!("{least}..{most}")
    };
    match &workload.payload {
        Payload::Binary => size,
        Payload::Lines => format!("{size} lines"),
        Payload::File(file) => {
            let name = file.path.rsplit('/').next().unwrap_or(&file.path);
            format!("{size} of {name}")
        }
    }
}

/// `open loop at 20,000/s`, `open loop at 20,000/s in bursts of 10, ramp 5 s`.
fn open_loop(open: &OpenLoop, percent_of_saturated: Option<u32>) -> String {
    let rate = match percent_of_saturated {
        // Of a suite, where each target has its own.
        Some(percent) if open.rate_per_s == 0 => format!("{percent} % of what each target reaches saturated"),
        Some(percent) => format!("{}/s ({percent} % of saturated)", count(open.rate_per_s)),
        None => format!("{}/s", count(open.rate_per_s)),
    };
    let arrivals = match open.arrivals {
        Arrivals::Constant => String::new(),
        Arrivals::Poisson => " at random (Poisson)".to_string(),
        Arrivals::Burst(messages) => format!(" in bursts of {messages}"),
    };
    let ramp = match open.ramp_ms {
        0 => String::new(),
        ramp => format!(", ramp {}", milliseconds(ramp)),
    };
    format!("open loop at {rate}{arrivals}{ramp}")
}

/// `10 s`, `0.5 s`, `250 ms` where it is no round part of a second.
#[must_use]
pub fn milliseconds(number: u64) -> String {
    match number {
        _ if number.is_multiple_of(1000) => format!("{} s", number / 1000),
        _ if number.is_multiple_of(100) => format!("{}.{} s", number / 1000, number % 1000 / 100),
        _ => format!("{number} ms"),
    }
}

/// `7m 00s`, `42s`: for what is left and what was spent.
#[must_use]
pub fn minutes(duration: Duration) -> String {
    let seconds = (duration.as_millis() + 500) / 1000;
    if seconds < 60 {
        format!("{seconds} s")
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

/// `1 process`, `1,001 processes`.
#[must_use]
pub fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// `64 B`, `1 KiB`, `1500 B`: sizes that were asked for keep all their digits.
fn exact_bytes(number: u64) -> String {
    match number {
        0 => "0 B".to_string(),
        _ if number.is_multiple_of(1 << 20) => format!("{} MiB", number >> 20),
        _ if number.is_multiple_of(1 << 10) => format!("{} KiB", number >> 10),
        _ => format!("{number} B"),
    }
}

/// Three significant digits in the largest unit that keeps the number at 1 or above.
fn scaled(number: f64, units: &[(f64, &str)]) -> String {
    let last = units.len() - 1;
    for (place, (size, unit)) in units.iter().enumerate() {
        // 999.6 us would print as 1000 us: take the next unit from there on.
        if number >= size * 0.9995 || place == last {
            let value = number / size;
            let decimals = if place == last || value >= 99.95 {
                0
            } else if value >= 9.995 {
                1
            } else {
                2
            };
            return format!("{value:.decimals$} {unit}");
        }
    }
    String::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_stand_apart() {
        assert_eq!(
            [0, 999, 1000, 12_345, 1_234_567].map(count),
            ["0", "999", "1,000", "12,345", "1,234,567"]
        );
    }

    #[test]
    fn figures_keep_three_digits_or_all_before_the_point() {
        assert_eq!(
            [0.0, 0.0312, 0.5, 2.306, 9.999, 97.44, 99.96, 750.2, 1553.5].map(figure),
            ["0", "0.0312", "0.500", "2.31", "10.0", "97.4", "100.0", "750", "1,554"]
        );
        assert_eq!(figure(f64::NAN), "n/a");
    }

    #[test]
    fn times_and_sizes_take_the_unit_that_fits() {
        assert_eq!(
            [0, 183, 999, 1000, 18_340, 999_600, 1_834_000, 2_100_000_000].map(time_ns),
            [
                "0 ns", "183 ns", "999 ns", "1.00 us", "18.3 us", "1.00 ms", "1.83 ms", "2.10 s"
            ]
        );
        assert_eq!(
            [512, 16 << 10, 8_700_000, 94_371_840].map(bytes),
            ["512 B", "16.0 KiB", "8.30 MiB", "90.0 MiB"]
        );
    }

    #[test]
    fn a_percentile_that_the_sample_cannot_carry_says_how_large_it_was() {
        let few = Latency {
            count: 1000,
            ..Latency::default()
        };
        assert_eq!(percentile(&few, None), "n/a (1,000 samples)");
        assert_eq!(percentile(&Latency::default(), None), "n/a");
        assert_eq!(percentile(&few, Some(1000)), "1.00 us");
    }

    #[test]
    fn a_job_says_its_sum_and_a_timed_workload_its_phases() {
        let of = |name| workload(&crate::suite::preset::find(name).unwrap().workload());
        assert_eq!(of("medium"), "1000 clients x 10 = 10,000 messages, 64 B, closed loop");
        assert_eq!(of("steady"), "1000 clients, 64 B, closed loop, 0.6 s warm-up + 0.8 s");
        assert_eq!(
            of("churn"),
            "100 clients, 64 B, a connection per message, closed loop, 0.2 s warm-up + 0.8 s"
        );
    }
}
