//! How far the CPUs of server and loadgen were apart in each trial, over the whole run.

use crate::measurement::store::Stored;
use crate::record::Measurement;
use crate::report::curve::{Across, Chart, Dot, Kind, Line, Panel, picture as curve};
use crate::report::svg::{Hue, Picture};
use crate::report::table::Grid;
use crate::suite::findings::Findings;
use crate::suite::matrix::SuiteFile;
use crate::suite::results::round_of;
use crate::text::{count, figure};
use crate::units::{count_f64, len_f64, round_u64};
use std::collections::BTreeMap;

/// None where no distance was measured.
pub(super) fn picture(file: &SuiteFile, findings: &Findings, stored: &[Stored]) -> Option<Picture> {
    let limit = findings.trials.near_limit_ns?;
    let began = seconds(&file.started_at)?;
    let timed = stored.iter().filter(|stored| !stored.measurement.plan.counting);
    let trials: Vec<(f64, f64, &Measurement)> = timed
        .filter_map(|stored| {
            let trial = &stored.measurement;
            let minutes = (seconds(&trial.identity.started_at)? - began) / 60.0;
            Some((minutes.max(0.0), trial.cpu_distance.as_ref()?.ns()?, trial))
        })
        .collect();
    let lines = [Hue::Fork, Hue::Thread, Hue::Event, Hue::Other].map(|hue| line(&trials, hue, limit));
    let far = findings.trials.far;
    let (least, most) = findings.trials.distance_ns?;
    Some(curve(Chart {
        name: "cpu-distance".to_string(),
        title: "Distance of the CPUs over the whole run".to_string(),
        about: "round trip of a cache line between a server CPU and a loadgen CPU, at each trial".to_string(),
        legend: format!(
            "Hollow: farther than {} ns, {}. A step that all targets share is the machine's: its CPUs were moved.",
            figure(limit),
            match findings.trials.far_are_used {
                true => "used all the same for lack of near ones",
                false => "left out of every figure",
            }
        ),
        summary: format!(
            "Of {} trials with a known distance {far} were far; {} to {} ns.",
            trials.len(),
            figure(least),
            figure(most)
        ),
        x: Across {
            title: "minutes since the start".to_string(),
            kind: Kind::Linear,
            print: Box::new(figure),
        },
        panels: vec![Panel {
            title: "cache line, nanoseconds".to_string(),
            lines: lines.into_iter().filter(|line| !line.dots.is_empty()).collect(),
            limit: Some((limit, "limit of near".to_string())),
            mark: None,
            is_log: false,
            print: Box::new(figure),
        }],
        marks: Vec::new(),
        bands: Vec::new(),
        may_be_log: true,
        by_target: false,
        data: data(&trials, limit),
    }))
}

/// The trials of one model.
fn line(trials: &[(f64, f64, &Measurement)], hue: Hue, limit: f64) -> Line {
    let of_hue = trials
        .iter()
        .filter(|(_, _, trial)| Hue::of(trial.target.model.as_deref()) == hue);
    Line {
        name: hue.class().to_string(),
        hue,
        dash: 0,
        joined: false,
        dots: of_hue
            .map(|(minutes, ns, _)| Dot {
                x: *minutes,
                y: Some(*ns),
                valid: *ns <= limit,
                marked: true,
            })
            .collect(),
    }
}

/// Seconds of an RFC 3339 time.
fn seconds(time: &str) -> Option<f64> {
    let time: jiff::Timestamp = time.parse().ok()?;
    let seconds = u64::try_from(time.as_second()).ok()?;
    Some(count_f64(seconds) + f64::from(time.subsec_nanosecond()) / 1e9)
}

/// One line for each round: a table of all trials is `trials.csv`.
fn data(trials: &[(f64, f64, &Measurement)], limit: f64) -> Grid {
    let mut rounds: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
    for (_, ns, trial) in trials {
        rounds.entry(round_of(trial)).or_default().push(*ns);
    }
    let line = |(round, ns): (&u32, &Vec<f64>)| {
        let least = ns.iter().copied().fold(f64::INFINITY, f64::min);
        let most = ns.iter().copied().fold(0.0, f64::max);
        let mean = ns.iter().sum::<f64>() / len_f64(ns.len());
        let far = ns.iter().filter(|ns| **ns > limit).count();
        let whole = |ns: f64| count(round_u64(ns));
        vec![
            round.to_string(),
            ns.len().to_string(),
            whole(least),
            whole(mean),
            whole(most),
            far.to_string(),
        ]
    };
    Grid {
        headings: ["round", "trials", "smallest, ns", "mean, ns", "largest, ns", "far"]
            .map(str::to_string)
            .into(),
        rows: rounds.iter().map(line).collect(),
    }
}
