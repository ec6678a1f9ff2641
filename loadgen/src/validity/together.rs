//! What the trials of one target under one workload show together, each of which is too short for a gate to judge it alone:
//! hiccups of the machine, planned times, steady state. A trial that is long enough was judged by itself. Pure.

use super::gates::{Evenness, HICCUPS_PERCENT};
use super::steady::{LEVEL_SHARE, TREND_P, Worse, mean, slope_and_correlation, speeds};
use crate::record::{Figure, GateName, Hiccup, Measurement, Reason};
use crate::text::counted;
use crate::units::{count_f64, len_f64};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Fewest windows of a trial that show a trend, and fewest trials that show it together.
const DRIFT_WINDOWS: usize = 6;
const DRIFT_TRIALS: usize = 5;

/// The gates that they do not pass together. What they void is void for all of them.
#[must_use]
pub fn judge(trials: &[&Measurement]) -> Vec<Reason> {
    let judged = [hiccups(trials), arrivals(trials), drift(trials)];
    judged.into_iter().flatten().collect()
}

/// Did the machine stall by itself? The shares of all trials, weighted by their wake-ups.
fn hiccups(trials: &[&Measurement]) -> Option<Reason> {
    let of_trial = |trial: &&Measurement| {
        let hiccup = trial
            .hiccup
            .as_ref()
            .filter(|hiccup| hiccup.beyond_1ms_percent.is_none())?;
        Some((hiccup.lost_percent?, hiccup.latency_ns.count))
    };
    let short: Vec<(f64, u64)> = trials.iter().filter_map(of_trial).collect();
    let wakeups: u64 = short.iter().map(|(_, wakeups)| wakeups).sum();
    let late: f64 = short
        .iter()
        .map(|(percent, wakeups)| percent * count_f64(*wakeups))
        .sum();
    let percent = late / count_f64(wakeups);
    (wakeups >= Hiccup::AT_LEAST && percent > HICCUPS_PERCENT).then(|| {
        let text = format!(
            "{} of an idle thread's wake-ups {percent:.2} % came more than 1 ms late (limit {HICCUPS_PERCENT} %): this machine \
             stalls by itself, run again on a quieter one",
            over(short.len())
        );
        Reason::new(GateName::Hiccup, percent, HICCUPS_PERCENT, text)
    })
}

/// Did the messages of a random plan leave at random?
fn arrivals(trials: &[&Measurement]) -> Option<Reason> {
    let of_each = trials.iter().filter_map(|trial| Evenness::of(trial));
    let short: Vec<Evenness> = of_each.filter(|evenness| !evenness.is_enough()).collect();
    let together = short.iter().copied().reduce(Evenness::and)?;
    together
        .is_enough()
        .then(|| together.reason(&format!("{} ", over(short.len()))))?
}

/// Was the server as fast at the end of its trials as at their beginning? A trial of a second is over before a trend stands
/// out from its noise, but a server that still warms up does so in all of them: the mean of their trends against its
/// standard error (Student's t, one sample).
fn drift(trials: &[&Measurement]) -> Option<Reason> {
    let short = trials
        .iter()
        .filter(|trial| trial.steady.is_none() && trial.stands(Figure::Capacity));
    let trends: Vec<(f64, Worse)> = short.filter_map(|trial| trend(trial)).collect();
    let worse = trends.first()?.1;
    let trends: Vec<f64> = trends.into_iter().map(|(trend, _)| trend).collect();
    let middle = mean(&trends);
    if trends.len() < DRIFT_TRIALS || middle.exp_m1().abs() <= LEVEL_SHARE || by_chance(&trends) >= TREND_P {
        return None;
    }
    let is_worse = (middle < 0.0) == (worse == Worse::Less);
    let what = match worse {
        Worse::Less => "the rate",
        Worse::More => "the median response time",
    };
    let text = format!(
        "{} {what} changed by {:+.0} % between the first and the last tenth of a second: the server {}",
        over(trends.len()),
        middle.exp_m1() * 100.0,
        if is_worse {
            "became slower: no single figure describes it"
        } else {
            "was still warming up: give it a longer warm-up (`warmup` in its --servers file, or a workload of its own)"
        }
    );
    Some(Reason::new(
        GateName::SteadyState,
        middle.exp_m1().abs(),
        LEVEL_SHARE,
        text,
    ))
}

/// Change of the log of the speed from the first window to the last one, by the fitted line.
fn trend(trial: &Measurement) -> Option<(f64, Worse)> {
    if trial.plan.workload.is_job() {
        return None;
    }
    let (speeds, worse) = speeds(trial)?;
    if speeds.len() < DRIFT_WINDOWS || speeds.iter().any(|speed| *speed <= 0.0) {
        return None;
    }
    let logs: Vec<f64> = speeds.iter().map(|speed| speed.ln()).collect();
    let places: Vec<f64> = (0..logs.len()).map(len_f64).collect();
    let (slope, _) = slope_and_correlation(&places, &logs);
    Some((slope * len_f64(logs.len() - 1), worse))
}

/// Probability of a mean this far from nothing, two-sided, where nothing is there.
fn by_chance(trends: &[f64]) -> f64 {
    let n = len_f64(trends.len());
    let middle = mean(trends);
    let squares: f64 = trends.iter().map(|trend| (trend - middle).powi(2)).sum();
    let error = (squares / (n - 1.0) / n).sqrt().max(f64::MIN_POSITIVE);
    let distribution = StudentsT::new(0.0, 1.0, n - 1.0);
    distribution.map_or(1.0, |distribution| {
        2.0 * (1.0 - distribution.cdf((middle / error).abs()))
    })
}

fn over(trials: usize) -> String {
    format!("over {} together", counted(trials as u64, "trial", "trials"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Arrivals, Latency, OpenLoop, Pacing, Stop, Waiting, Window};

    fn judged(trials: &[Measurement]) -> Vec<Reason> {
        judge(&trials.iter().collect::<Vec<_>>())
    }

    fn with_hiccups(lost_percent: f64, wakeups: u64, judged_alone: bool) -> Measurement {
        Measurement {
            hiccup: Some(Hiccup {
                method: "a test".into(),
                latency_ns: Latency {
                    count: wakeups,
                    ..Latency::default()
                },
                beyond_1ms_percent: judged_alone.then_some(lost_percent),
                lost_percent: Some(lost_percent),
            }),
            ..Measurement::default()
        }
    }

    /// A closed loop of 0.8 s whose rate changes by this share from its first window to its last.
    fn closed_loop(change: f64, level: u64) -> Measurement {
        let mut trial = Measurement {
            complete: true,
            ..Measurement::default()
        };
        trial.plan.workload.stop = Stop::AfterMs(800);
        trial.throughput.duration_s = 0.8;
        trial.windows = (0..8_u32)
            .map(|place| Window {
                from_s: f64::from(place) * 0.1,
                length_s: 0.1,
                ok: crate::units::round_u64(count_f64(level) * (1.0 + change * f64::from(place) / 7.0)),
                ..Window::default()
            })
            .collect();
        trial
    }

    fn poisson_plan(sent: &[u64]) -> Measurement {
        let mut trial = Measurement::default();
        trial.plan.workload.pacing = Pacing::OpenLoop(OpenLoop {
            rate_per_s: 1000,
            arrivals: Arrivals::Poisson,
            ramp_ms: 0,
            waiting: Waiting::Hybrid,
        });
        let window = |(place, sent): (u32, &u64)| Window {
            from_s: f64::from(place) * 0.1,
            length_s: 0.1,
            sent: Some(*sent),
            ..Window::default()
        };
        trial.windows = (0..).zip(sent).map(window).collect();
        trial
    }

    #[test]
    fn late_wake_ups_of_short_trials_add_up_and_long_trials_are_left_out() {
        let quiet = || with_hiccups(0.0, 500, false);
        assert_eq!(judged(&[quiet(), with_hiccups(0.2, 400, false)]), []);
        let reasons = judged(&[quiet(), with_hiccups(0.4, 500, false), with_hiccups(90.0, 5000, true)]);
        assert_eq!(reasons.len(), 1);
        assert_eq!(reasons[0].gate, GateName::Hiccup);
        assert!((reasons[0].observed - 0.2).abs() < 1e-9, "{}", reasons[0].observed);
        assert!(
            reasons[0]
                .text
                .starts_with("over 2 trials together of an idle thread's wake-ups 0.20 %")
        );
        // Too few to tell one in a thousand.
        assert_eq!(judged(&[with_hiccups(5.0, 900, false)]), []);
    }

    #[test]
    fn a_plan_kept_too_evenly_shows_over_trials_of_which_none_would_show_it() {
        let even = || poisson_plan(&[100; 12]);
        assert_eq!(judged(&[even()]), []);
        let reasons = judged(&[even(), even(), even()]);
        assert_eq!(reasons[0].gate, GateName::Arrivals);
        assert!(
            reasons[0]
                .text
                .starts_with("over 3 trials together messages of a Poisson plan")
        );
        let random = || poisson_plan(&[91, 108, 96, 113, 87, 104, 99, 94, 117, 101, 88, 102]);
        assert_eq!(judged(&[random(), random(), random()]), []);
    }

    #[test]
    fn a_server_that_warms_up_in_each_of_its_trials_is_named_and_one_that_wanders_is_not() {
        let warming: Vec<Measurement> = [0.31, 0.27, 0.35, 0.29, 0.33]
            .map(|change| closed_loop(change, 50_000))
            .into();
        let reasons = judged(&warming);
        assert_eq!(reasons[0].gate, GateName::SteadyState);
        assert!(reasons[0].text.contains("still warming up"), "{}", reasons[0].text);
        assert!(reasons[0].voids(Figure::Capacity));
        // Four trials are too few; and what differs in sign, or by less than a tenth, is wandering.
        assert_eq!(judged(&warming[..4]), []);
        let wandering: Vec<Measurement> = [0.3, -0.2, 0.1, -0.3, 0.25]
            .map(|change| closed_loop(change, 50_000))
            .into();
        assert_eq!(judged(&wandering), []);
        let small: Vec<Measurement> = [0.05, 0.06, 0.05, 0.07, 0.06]
            .map(|change| closed_loop(change, 50_000))
            .into();
        assert_eq!(judged(&small), []);
    }

    #[test]
    fn a_server_that_becomes_slower_in_each_of_its_trials_is_named() {
        let slowing: Vec<Measurement> = [-0.21, -0.27, -0.25, -0.29, -0.23]
            .map(|change| closed_loop(change, 50_000))
            .into();
        let text = &judged(&slowing)[0].text;
        assert!(
            text.contains("the rate changed by -2") && text.contains("became slower"),
            "{text}"
        );
        // A job has no steady state.
        let jobs: Vec<Measurement> = (slowing.into_iter())
            .map(|mut trial| {
                trial.plan.workload.stop = Stop::MessagesPerClient(10);
                trial
            })
            .collect();
        assert_eq!(judged(&jobs), []);
    }
}
