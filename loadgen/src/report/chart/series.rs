//! One trial over time, window by window: rate, response and CPU, with what does not count shaded. Where some trial has windows
//! that do not count it is the one with most of them, else the longest of the best target.

use crate::measurement::store::Stored;
use crate::record::{Figure, Measurement, SteadyClass, Window};
use crate::report::curve::{Across, Chart, Dot, Kind, Line, Panel, picture as curve};
use crate::report::svg::{Hue, Picture};
use crate::report::table::Grid;
use crate::suite::results::{Results, round_of, why_not};
use crate::text::{count, figure, time_ns, workload as workload_line};
use crate::units::{count_f64, round_u64};

/// Fewer windows show no course.
const AT_LEAST: usize = 3;

/// None where no record has windows.
pub(super) fn picture(results: &Results, stored: &[Stored]) -> Option<Picture> {
    let shown = chosen(results, stored)?;
    let trial = &shown.measurement;
    let hue = Hue::of(trial.target.model.as_deref());
    let of = |title: &str, name: &str, print: fn(f64) -> String, read: &dyn Fn(&Window) -> Option<f64>| Panel {
        title: title.to_string(),
        lines: vec![line(trial, name, hue, 0, read)],
        limit: None,
        mark: None,
        is_log: false,
        print: Box::new(print),
    };
    let time = |ns: f64| time_ns(round_u64(ns));
    let mut response = of("response time", "p50", time, &|window| {
        window.response_p50_ns.map(count_f64)
    });
    response.lines.push(line(trial, "p99", hue, 1, &|window| {
        window.response_p99_ns.map(count_f64)
    }));
    response.lines.push(line(trial, "max", hue, 2, &|window| {
        window.response_max_ns.map(count_f64)
    }));
    let panels = vec![
        of("messages per second", "rate", figure, &rate),
        response,
        of("server CPU, % of a core", "CPU", figure, &cpu_percent),
    ];
    let bands = void(trial);
    let panels = panels.into_iter().filter(has_dots);
    Some(curve(Chart {
        name: "one-trial".to_string(),
        title: format!(
            "One trial over time: {} under {}, round {}",
            trial.plan.target,
            trial.workload,
            round_of(trial)
        ),
        about: workload_line(&trial.plan.workload),
        legend: legend(trial, &bands),
        summary: format!(
            "Windows of 100 ms of {}: {} windows, {} of them do not count.",
            shown.file,
            whole(trial).count(),
            whole(trial).filter(|window| is_void(trial, window)).count()
        ),
        x: Across {
            title: "seconds of the measured phase".to_string(),
            kind: Kind::Linear,
            print: Box::new(figure),
        },
        panels: panels.collect(),
        marks: Vec::new(),
        bands,
        may_be_log: true,
        by_target: false,
        data: data(trial),
    }))
}

fn has_dots(panel: &Panel) -> bool {
    let mut dots = panel.lines.iter().flat_map(|line| &line.dots);
    dots.any(|dot| dot.y.is_some())
}

/// The trial that shows most.
fn chosen<'a>(results: &Results, stored: &'a [Stored]) -> Option<&'a Stored> {
    let timed = || {
        let trials = stored.iter();
        trials.filter(|stored| !stored.measurement.plan.counting && whole(&stored.measurement).count() >= AT_LEAST)
    };
    let voided = |stored: &Stored| {
        let trial = &stored.measurement;
        whole(trial).filter(|window| is_void(trial, window)).count()
    };
    let most = timed()
        .rev()
        .max_by_key(|stored| voided(stored))
        .filter(|stored| voided(stored) > 0);
    let best = results.findings.tables.first().and_then(|table| table.targets.first());
    let of_best = timed()
        .filter(|stored| best.is_some_and(|best| best.target == stored.measurement.plan.target))
        .rev()
        .max_by_key(|stored| whole(&stored.measurement).count());
    most.or(of_best).or_else(|| timed().next())
}

/// The last window is open-ended: what ended after the phase.
fn whole(trial: &Measurement) -> impl Iterator<Item = &Window> {
    let end = trial.throughput.duration_s;
    trial
        .windows
        .iter()
        .filter(move |window| window.length_s > 0.0 && window.from_s + window.length_s <= end * 1.001)
}

/// Before the steady part, all of a trial that has none, and windows in which nothing ended or something failed.
fn is_void(trial: &Measurement, window: &Window) -> bool {
    let before_steady = trial.steady.is_some_and(|steady| match steady.cut_s {
        Some(cut_s) => window.from_s + window.length_s <= cut_s,
        None => steady.class == SteadyClass::None,
    });
    before_steady || window.ok == 0 || window.errors > 0
}

fn void(trial: &Measurement) -> Vec<(f64, f64)> {
    let void = whole(trial).filter(|window| is_void(trial, window));
    void.map(|window| (window.from_s, window.from_s + window.length_s))
        .collect()
}

fn legend(trial: &Measurement, bands: &[(f64, f64)]) -> String {
    let shaded = match bands.is_empty() {
        true => "Every window counts.".to_string(),
        false => "Shaded: windows that do not count (before the server was steady, or nothing was answered, or a message failed)."
            .to_string(),
    };
    let judged = match trial.stands(Figure::Rates) && trial.stands(Figure::Percentiles) {
        true => String::new(),
        false => format!(" Figures of this trial are void: {}.", why_not(trial).join("; ")),
    };
    format!("Each point: one window of 100 ms. {shaded}{judged}")
}

fn rate(window: &Window) -> Option<f64> {
    Some(count_f64(window.ok) / window.length_s)
}

/// 100 is one core.
fn cpu_percent(window: &Window) -> Option<f64> {
    Some(count_f64(window.server_cpu_ns?) / (window.length_s * 1e9) * 100.0)
}

fn line(trial: &Measurement, name: &str, hue: Hue, dash: usize, read: &dyn Fn(&Window) -> Option<f64>) -> Line {
    let dot = |window: &Window| Dot {
        x: window.from_s + window.length_s / 2.0,
        y: read(window),
        valid: !is_void(trial, window),
        marked: true,
    };
    Line {
        name: name.to_string(),
        hue,
        dash,
        joined: true,
        dots: whole(trial).map(dot).collect(),
    }
}

fn data(trial: &Measurement) -> Grid {
    let or_none = |ns: Option<u64>| ns.map_or_else(|| "n/a".to_string(), time_ns);
    let line = |window: &Window| {
        vec![
            format!("{:.1}", window.from_s),
            count(window.ok),
            count(window.errors),
            or_none(window.response_p50_ns),
            or_none(window.response_p99_ns),
            or_none(window.response_max_ns),
            cpu_percent(window).map_or_else(|| "n/a".to_string(), figure),
            if is_void(trial, window) { "no" } else { "yes" }.to_string(),
        ]
    };
    Grid {
        headings: [
            "from, s",
            "answered",
            "failed",
            "p50",
            "p99",
            "max",
            "CPU, % of a core",
            "counts",
        ]
        .map(str::to_string)
        .into(),
        rows: whole(trial).map(line).collect(),
    }
}
