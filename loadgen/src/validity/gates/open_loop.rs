//! The gates of an open loop: did the messages leave when they were planned, and were they served?

use super::{CLIENT_BOUND_PERCENT, Gates, is_open_loop};
use crate::record::{Arrivals, GateName, Latency, Limiter, Measurement, Reason};
use crate::text::figure;
use crate::units::{count_f64, len_f64, ns_to_ms, percent};
use statrs::distribution::{ChiSquared, ContinuousCDF};

/// Share of a response percentile that the send lag at the same percentile may be.
const SEND_LAG_SHARE: f64 = 0.10;
/// Send lags shorter than this take a percentile away but do not make the trial invalid: they are the generator's
/// ordinary precision beside a fast server.
const SEND_LAG_NS: u64 = 1_000_000;
/// Share of an open loop's plan that may remain unserved in the measured phase, in percent.
const MISSED_PLAN_PERCENT: f64 = 1.0;
/// Fewest windows, and messages in one on average, of which it is told whether they are Poisson distributed.
const ARRIVAL_WINDOWS: usize = 20;
const ARRIVALS_PER_WINDOW: f64 = 5.0;
/// Below this probability by chance they are not.
const ARRIVALS_P: f64 = 1e-6;

/// Did the messages of an open loop leave when they were planned?
pub(super) fn sending(measurement: &Measurement, gates: &mut Gates) {
    if !is_open_loop(measurement) {
        return;
    }
    gates.limit(
        GateName::Headroom,
        Some(measurement.loadgen_cost.cpu_percent_max),
        CLIENT_BOUND_PERCENT,
        |observed| {
            format!(
                "a loadgen thread worked {observed:.0} % of the time without deliberate spinning (limit \
                 {CLIENT_BOUND_PERCENT} %): use more --threads, or a lower --rate"
            )
        },
    );
    let latency = &measurement.latency_ns;
    let late = printed(&latency.response, &latency.send_lag)
        .filter(|(_, response, lag)| is_too_late(*response, *lag) && *lag > SEND_LAG_NS);
    let worst = late.max_by(|a, b| share(a.1, a.2).total_cmp(&share(b.1, b.2)));
    if let Some((name, response, lag)) = worst {
        gates.limit(GateName::SendLag, Some(share(response, lag)), SEND_LAG_SHARE, |observed| {
            format!(
                "messages left late: the {name} of the send lag, {:.1} ms, is {:.0} % of the {name} of the response time \
                 (limit {:.0} %): the response times are partly loadgen's",
                ns_to_ms(lag),
                observed * 100.0,
                SEND_LAG_SHARE * 100.0
            )
        });
    }
}

/// Were as many messages served in the measured phase as were planned?
pub(super) fn keeping(measurement: &Measurement, gates: &mut Gates) {
    gates.limit(
        GateName::MissedPlan,
        missed_percent(measurement),
        MISSED_PLAN_PERCENT,
        |observed| {
            let throughput = &measurement.throughput;
            let limit = match measurement.limiter {
                Limiter::Unknown => "no figure shows what the limit was".to_string(),
                limiter => format!("the limit was: {limiter}"),
            };
            format!(
                "{} messages/s were served where {} were planned, {observed:.1} % less (limit {MISSED_PLAN_PERCENT} %); {limit}: \
                 use a lower --rate",
                figure(throughput.messages_per_s),
                figure(throughput.planned_per_s.unwrap_or(0.0))
            )
        },
    );
}

/// How many of the planned messages the server did not come to in the measured phase, in percent, where that is more than
/// may be. Those that are under way at the end of a phase that is kept are none: rate times service time (Little's law).
#[must_use]
pub fn missed_percent(measurement: &Measurement) -> Option<f64> {
    let planned_per_s = measurement.throughput.planned_per_s?;
    let planned = measurement.counts.planned;
    let missed = planned.saturating_sub(measurement.throughput.served?);
    let service_s = measurement.latency_ns.service.mean.unwrap_or(0.0) / 1e9;
    let under_way = (planned_per_s * service_s).max(1.0);
    percent(missed, planned).filter(|&percent| percent > MISSED_PLAN_PERCENT && count_f64(missed) > under_way)
}

/// Did the messages of a random plan leave at random? Counts of a Poisson process in equal windows have the variance of
/// their mean, and (n-1) times their ratio is chi-square distributed. Too even is a fault of the generator; too uneven is
/// what waiting for free clients makes of any plan.
pub(super) fn arrivals(measurement: &Measurement, gates: &mut Gates) {
    let evenness = Evenness::of(measurement).filter(Evenness::is_enough);
    gates.reasons.extend(evenness.and_then(|evenness| evenness.reason("")));
}

/// How evenly the messages of Poisson plans left. Of several trials together the statistics add up, and so do the degrees
/// of freedom.
#[derive(Clone, Copy, Debug, Default)]
pub struct Evenness {
    /// Sum of squared differences from the mean, over the mean: chi-square distributed.
    statistic: f64,
    /// Degrees of freedom.
    freedom: f64,
    windows: usize,
}

impl Evenness {
    /// None where nothing was to leave at random, or too little for the distribution to hold.
    #[must_use]
    pub fn of(measurement: &Measurement) -> Option<Self> {
        let open = measurement.plan.workload.open_loop()?;
        let whole = measurement.windows.iter().filter(|window| window.length_s > 0.0);
        let sent: Vec<f64> = whole.filter_map(|window| window.sent.map(count_f64)).collect();
        let windows = len_f64(sent.len());
        let mean = sent.iter().sum::<f64>() / windows.max(1.0);
        (open.arrivals == Arrivals::Poisson && sent.len() > 1 && mean >= ARRIVALS_PER_WINDOW).then(|| Self {
            statistic: sent.iter().map(|sent| (sent - mean).powi(2)).sum::<f64>() / mean,
            freedom: windows - 1.0,
            windows: sent.len(),
        })
    }

    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            statistic: self.statistic + other.statistic,
            freedom: self.freedom + other.freedom,
            windows: self.windows + other.windows,
        }
    }

    /// Whether there are windows enough to judge by.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        self.windows >= ARRIVAL_WINDOWS
    }

    /// Why it is no Poisson process, if it is none; the sentence begins with `where_seen`.
    #[must_use]
    pub fn reason(&self, where_seen: &str) -> Option<Reason> {
        let by_chance = ChiSquared::new(self.freedom).map_or(1.0, |chi_square| chi_square.cdf(self.statistic));
        let dispersion = self.statistic / self.freedom;
        // The gate is a floor; reasons tell what is above a limit, so the evenness is told.
        (by_chance < ARRIVALS_P).then(|| {
            let text = format!(
                "{where_seen}messages of a Poisson plan left too evenly: the variance of their number in 0.1 s is {dispersion:.2} \
                 times the mean, where 1 was planned (probability by chance {by_chance:.0e})"
            );
            Reason::new(GateName::Arrivals, 1.0 - dispersion, 0.0, text)
        })
    }
}

/// Takes away each response percentile of an open loop of which too much is loadgen's own send lag; says which.
pub fn withhold_late_percentiles(response: &mut Latency, lag: &Latency) -> Vec<&'static str> {
    let late: Vec<&'static str> = printed(response, lag)
        .filter(|(_, response, lag)| is_too_late(*response, *lag))
        .map(|(name, ..)| name)
        .collect();
    for name in &late {
        match *name {
            "p50" => response.p50 = None,
            "p75" => response.p75 = None,
            "p90" => response.p90 = None,
            "p99" => response.p99 = None,
            "p99.9" => response.p999 = None,
            _ => response.p9999 = None,
        }
    }
    late
}

/// The percentiles that both distributions carry: name, response, lag.
fn printed(response: &Latency, lag: &Latency) -> impl Iterator<Item = (&'static str, u64, u64)> + use<> {
    [
        ("p50", response.p50, lag.p50),
        ("p75", response.p75, lag.p75),
        ("p90", response.p90, lag.p90),
        ("p99", response.p99, lag.p99),
        ("p99.9", response.p999, lag.p999),
        ("p99.99", response.p9999, lag.p9999),
    ]
    .into_iter()
    .filter_map(|(name, response, lag)| Some((name, response?, lag?)))
}

fn is_too_late(response: u64, lag: u64) -> bool {
    share(response, lag) > SEND_LAG_SHARE
}

fn share(response: u64, lag: u64) -> f64 {
    count_f64(lag) / count_f64(response.max(1))
}
