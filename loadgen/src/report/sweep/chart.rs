//! The curve of a sweep as a chart.

use super::findings::{findings, knee, told};
use super::{Row, about, quantiles, quantities, title};
use crate::measurement::store::Stored;
use crate::quantity::Quantity;
use crate::report::chart;
use crate::report::curve::{Across, Chart, Dot, Kind, Line, Panel};
use crate::report::svg::Hue;
use crate::report::table::Grid;
use crate::suite::search::{Next, Outcome};
use crate::suite::sweep::{Along, SweepFile, quantile_name};
use crate::text::{count, figure, time_ns};
use crate::units::{count_f64, round_u64};
use echo_contract::catalog;

const LEGEND: &str = "Each point: all runs there, their histograms merged. Hollow: no run was valid.";

/// Response over rate, with the limit and the highest rate that kept it; or the figures and the response over clients, with
/// the knee.
pub(super) fn chart(file: &SweepFile, rows: &[Row<'_>], stored: &[Stored]) -> Chart {
    let mut chart = Chart {
        name: "curve".to_string(),
        title: title(file),
        about: about(stored),
        legend: LEGEND.to_string(),
        summary: sentences(file, stored),
        x: Across {
            title: "clients (closed loop)".to_string(),
            kind: Kind::Log,
            print: Box::new(figure),
        },
        panels: Vec::new(),
        marks: Vec::new(),
        bands: Vec::new(),
        may_be_log: false,
        by_target: false,
        data: data(file, rows),
    };
    let mut response = response(file, rows);
    match &file.sweep.along {
        Along::Rate { slo, limits } => {
            response.limit = Some((count_f64(slo.limit_ns), time_ns(slo.limit_ns)));
            chart.x.title = "planned messages per second (open loop)".to_string();
            chart.x.kind = Kind::Linear;
            if let Next::Done(Outcome::Found { kept_per_s, .. } | Outcome::NeverBroken { kept_per_s }) =
                told(slo, limits, stored).next()
            {
                chart
                    .marks
                    .push((count_f64(kept_per_s), format!("{}/s", count(kept_per_s))));
            }
        }
        Along::Clients { .. } => {
            chart
                .panels
                .extend(quantities().map(|quantity| figures(file, quantity, rows)));
            let knee = knee(file, rows);
            chart
                .marks
                .extend(knee.map(|(at, _)| (count_f64(at), format!("knee {}", count(at)))));
        }
    }
    chart.panels.push(response);
    chart
}

/// The findings as one text.
fn sentences(file: &SweepFile, stored: &[Stored]) -> String {
    let findings = findings(file, stored).into_iter();
    findings
        .map(|(name, sentence)| format!("{name}: {sentence}. "))
        .collect()
}

/// The curve's table.
fn data(file: &SweepFile, rows: &[Row<'_>]) -> Grid {
    let (headings, rows) = super::table_of(file, rows);
    Grid { headings, rows }
}

fn hue(file: &SweepFile) -> Hue {
    Hue::of(catalog::find(&file.sweep.target).map(|target| target.model.as_str()))
}

fn response(file: &SweepFile, rows: &[Row<'_>]) -> Panel {
    let line = |(dash, parts): (usize, u64)| Line {
        name: quantile_name(parts),
        hue: hue(file),
        dash,
        joined: true,
        dots: dots(rows, |row| row.response.quantile(parts).map(count_f64)),
    };
    Panel {
        title: "response time".to_string(),
        lines: quantiles(file).into_iter().enumerate().map(line).collect(),
        limit: None,
        mark: None,
        is_log: true,
        print: Box::new(|ns| time_ns(round_u64(ns))),
    }
}

fn figures(file: &SweepFile, quantity: &'static Quantity, rows: &[Row<'_>]) -> Panel {
    Panel {
        title: chart::title(quantity),
        lines: vec![Line {
            name: quantity.title(),
            hue: hue(file),
            dash: 0,
            joined: true,
            dots: dots(rows, |row| row.figure(quantity)),
        }],
        limit: None,
        mark: None,
        is_log: false,
        print: Box::new(|figure| quantity.print(figure)),
    }
}

fn dots(rows: &[Row<'_>], of: impl Fn(&Row<'_>) -> Option<f64>) -> Vec<Dot> {
    let dot = |row: &Row<'_>| Dot {
        x: count_f64(row.at),
        y: of(row),
        valid: row.valid > 0,
        marked: true,
    };
    rows.iter().map(dot).collect()
}
