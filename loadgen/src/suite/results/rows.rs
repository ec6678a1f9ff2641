//! One target under one workload, all its trials together: what the tables print in a line.

use super::{round_of, usable, why_not};
use crate::quantity::{self, Clock, Quantity, Reading};
use crate::record::{External, Figure, LatencySet, Measurement, Workload};
use crate::recorder::latency::LatencyHistogram;
use crate::suite::matrix::Pair;
use crate::suite::nearness::Nearness;
use crate::suite::statistics::Spread;
use crate::suite::together::Together;
use crate::text::milliseconds;
use std::collections::BTreeMap;

/// One target under one workload, all rounds together.
#[derive(Clone, Debug)]
pub struct Row {
    pub workload: String,
    /// The target's own name.
    pub name: String,
    /// As in the tables: the control says `(again)`, a server of the user's own `(external)`.
    pub target: String,
    /// Whether it is one of the user's own.
    pub is_external: bool,
    pub control: bool,
    pub model: Option<String>,
    pub runtime: Option<String>,
    pub runtime_version: Option<String>,
    pub io_interface: Option<String>,
    pub workers: Option<u32>,
    /// What the server was to work for each read, in nanoseconds.
    pub work_ns: Option<u64>,
    /// Whether some trial stands; if not the figures are from trials that do not, or absent.
    pub believed: bool,
    pub rounds_valid: usize,
    /// Rounds with at least one trial.
    pub rounds_run: usize,
    /// Why figures are void that each trial alone would keep, one sentence each.
    pub void_together: Vec<String>,
    /// Why there is no figure at all.
    pub not_measured: Option<String>,
    /// Of each quantity by its name, over the trials; one that no trial has is not there.
    spreads: BTreeMap<&'static str, Spread>,
    /// From the merged histograms.
    pub latency: LatencySet,
    /// The response as a curve, from the same: see [`LatencyHistogram::curve`].
    pub response_curve: Vec<(u64, u64)>,
    /// Of the target's counting trials, which are the same for every workload: clients, and calls per message.
    pub syscalls_per_message: Vec<(u32, Option<f64>)>,
    /// Failed messages of the trials that the figures come from; a trial that failures made void is listed with its reason.
    pub errors: u64,
    pub messages: u64,
    /// Every trial that ran to its end, for the charts.
    pub points: Vec<Point>,
    /// What a histogram was refused for; the percentiles are then null.
    pub histogram_fault: Option<String>,
}

/// One trial in a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    figures: BTreeMap<&'static str, f64>,
    pub valid: bool,
}

impl Point {
    /// None where the trial does not have it.
    #[must_use]
    pub fn figure(&self, quantity: &Quantity) -> Option<f64> {
        self.figures.get(quantity.name).copied()
    }
}

impl Row {
    pub(super) fn of(pair: &Pair, trials: &[&Measurement], nearness: &Nearness, together: &Together) -> Self {
        let serves = |trial: &&Measurement| usable(trial) && nearness.is_used(trial);
        let mut valid: Vec<&Measurement> = trials.iter().copied().filter(serves).collect();
        // A target that was far in every round is better shown so than not at all.
        if valid.is_empty() {
            valid = trials.iter().copied().filter(|trial| usable(trial)).collect();
        }
        let complete = || trials.iter().copied().filter(|trial| trial.complete);
        let believed = !valid.is_empty() && !together.voids(pair, Figure::Capacity);
        let used: Vec<&Measurement> = if believed { valid.clone() } else { complete().collect() };
        let standing = |figure: Figure| {
            used.iter()
                .copied()
                .filter(move |trial| !believed || (trial.stands(figure) && !together.voids(pair, figure)))
        };
        let timed: Vec<&Measurement> = standing(Figure::Percentiles).collect();
        let (latency, response_curve, histogram_fault) = match merged_latency(&timed) {
            Ok((latency, curve)) => (latency, curve, None),
            Err(fault) => (LatencySet::default(), Vec::new(), Some(fault)),
        };
        let first = trials
            .iter()
            .find(|trial| trial.target.model.is_some())
            .or(trials.first());
        let fact = |of: fn(&Measurement) -> &Option<String>| first.and_then(|trial| of(trial).clone());
        Self {
            workload: pair.workload.clone(),
            name: pair.target.clone(),
            target: label_of(pair, trials),
            is_external: trials.iter().any(|trial| trial.plan.external.is_some()),
            control: pair.control,
            model: fact(|trial| &trial.target.model),
            runtime: fact(|trial| &trial.target.runtime),
            runtime_version: fact(|trial| &trial.target.runtime_version),
            io_interface: fact(|trial| &trial.target.io_interface),
            workers: first.and_then(|trial| trial.target.workers),
            work_ns: first.and_then(|trial| trial.plan.work_ns),
            believed,
            rounds_valid: rounds_of(&valid),
            rounds_run: rounds_of(trials),
            void_together: (together.reasons(pair).iter())
                .map(|reason| reason.text.clone())
                .collect(),
            not_measured: used.is_empty().then(|| why_none(trials)),
            spreads: quantity::ALL
                .iter()
                .filter_map(|quantity| {
                    let figures = standing(quantity.kind()).filter_map(|trial| quantity.of(trial));
                    Some((quantity.name, Spread::of(figures)?))
                })
                .collect(),
            latency,
            response_curve,
            syscalls_per_message: Vec::new(),
            errors: used.iter().map(|trial| trial.counts.errors()).sum(),
            messages: used.iter().map(|trial| trial.counts.ok).sum(),
            points: complete().map(|trial| point(trial, nearness)).collect(),
            histogram_fault,
        }
    }

    /// Of a figure over the trials; None where no trial has it. A point of a distribution spreads over the trials' own.
    #[must_use]
    pub fn spread(&self, quantity: &Quantity) -> Option<&Spread> {
        self.spreads.get(quantity.name)
    }

    /// What tables and charts show: the median over the trials, or the point of all their samples together.
    #[must_use]
    pub fn figure(&self, quantity: &Quantity) -> Option<f64> {
        match quantity.reading {
            Reading::Field { .. } => self.spread(quantity).map(|spread| spread.median),
            Reading::Point { clock, at } => at(clock.latency(&self.latency)),
        }
    }
}

fn point(trial: &Measurement, nearness: &Nearness) -> Point {
    Point {
        figures: quantity::ALL
            .iter()
            .filter_map(|quantity| Some((quantity.name, quantity.of(trial)?)))
            .collect(),
        valid: trial.stands(Figure::Rates) && nearness.is_used(trial),
    }
}

/// The distributions of these trials, bin for bin, and the response's curve.
fn merged_latency(trials: &[&Measurement]) -> Result<(LatencySet, Vec<(u64, u64)>), String> {
    let merged = |clock: Clock| {
        let texts = trials.iter().filter_map(|trial| clock.histogram(&trial.histograms));
        LatencyHistogram::merged(texts.map(String::as_str))
    };
    let summary = |clock| merged(clock).map(|histogram| histogram.summary());
    let response = merged(Clock::Response)?;
    let latency = LatencySet {
        response: response.summary(),
        service: summary(Clock::Service)?,
        send_lag: summary(Clock::SendLag)?,
        connect: summary(Clock::Connect)?,
    };
    Ok((latency, response.curve()))
}

fn rounds_of(trials: &[&Measurement]) -> usize {
    let mut rounds: Vec<u32> = trials.iter().map(|trial| round_of(trial)).collect();
    rounds.sort_unstable();
    rounds.dedup();
    rounds.len()
}

fn why_none(trials: &[&Measurement]) -> String {
    trials.last().map_or_else(
        || "not yet run".to_string(),
        |trial| why_not(trial).into_iter().next().unwrap_or_default(),
    )
}

/// What a server of the user's own has behind its name, and its warm-up where it has one of its own, which others do not have.
fn external_mark(external: &External, workload: &Workload) -> String {
    match external.warmup_ms {
        Some(own_ms) if !workload.is_job() && workload.warmup_ms == own_ms => {
            format!(" (external, {} warm-up)", milliseconds(own_ms))
        }
        _ => " (external)".to_owned(),
    }
}

/// The name in tables: a server in a container is in another environment than one beside loadgen, and says so.
#[must_use]
pub fn label_of(pair: &Pair, trials: &[&Measurement]) -> String {
    let mut label = pair.label();
    let own_server = |trial: &&Measurement| Some((trial.plan.external.clone()?, trial.plan.workload.clone()));
    if let Some((external, workload)) = trials.iter().find_map(own_server) {
        label += &external_mark(&external, &workload);
    }
    if trials.iter().any(|trial| trial.target.container.is_some()) {
        format!("{label} (container)")
    } else {
        label
    }
}
