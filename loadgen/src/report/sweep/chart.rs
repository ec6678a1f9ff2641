//! The curve of a sweep as a chart.

use super::findings::{knee, told};
use super::{Row, about, quantiles, quantities, title};
use crate::measurement::store::Stored;
use crate::quantity::Quantity;
use crate::report::chart;
use crate::report::curve::{Chart, Dot, Line, Panel};
use crate::suite::search::{Next, Outcome};
use crate::suite::sweep::{Along, SweepFile, quantile_name};
use crate::text::{count, time_ns};
use crate::units::{count_f64, round_u64};

const COLOURS: [&str; 3] = ["#5b8fc7", "#d98f4e", "#9a86b5"];

/// Response over rate, with the limit and the highest rate that kept it; or the figures and the response over clients, with
/// the knee.
pub(super) fn chart(file: &SweepFile, rows: &[Row<'_>], stored: &[Stored]) -> Chart {
    let mut chart = Chart {
        title: title(file),
        about: about(stored),
        x_title: "clients (closed loop)".to_string(),
        x_is_log: true,
        panels: Vec::new(),
        marks: Vec::new(),
    };
    let mut response = response(file, rows);
    match &file.sweep.along {
        Along::Rate { slo, limits } => {
            response.limit = Some((count_f64(slo.limit_ns), time_ns(slo.limit_ns)));
            chart.x_title = "planned messages per second (open loop)".to_string();
            chart.x_is_log = false;
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
                .extend(quantities().map(|quantity| figures(quantity, rows)));
            let knee = knee(file, rows);
            chart
                .marks
                .extend(knee.map(|(at, _)| (count_f64(at), format!("knee {}", count(at)))));
        }
    }
    chart.panels.push(response);
    chart
}

fn response(file: &SweepFile, rows: &[Row<'_>]) -> Panel {
    let line = |(parts, colour): (u64, &'static str)| Line {
        name: quantile_name(parts),
        colour,
        dots: dots(rows, |row| row.response.quantile(parts).map(count_f64)),
    };
    Panel {
        title: "response time".to_string(),
        lines: quantiles(file).into_iter().zip(COLOURS).map(line).collect(),
        limit: None,
        is_log: true,
        print: Box::new(|ns| time_ns(round_u64(ns))),
    }
}

fn figures(quantity: &'static Quantity, rows: &[Row<'_>]) -> Panel {
    Panel {
        title: chart::title(quantity),
        lines: vec![Line {
            name: quantity.title(),
            colour: "#5aa469",
            dots: dots(rows, |row| row.figure(quantity)),
        }],
        limit: None,
        is_log: false,
        print: Box::new(|figure| quantity.print(figure)),
    }
}

fn dots(rows: &[Row<'_>], of: impl Fn(&Row<'_>) -> Option<f64>) -> Vec<Dot> {
    let dot = |row: &Row<'_>| {
        Some(Dot {
            x: count_f64(row.at),
            y: of(row)?,
            valid: row.valid > 0,
        })
    };
    rows.iter().filter_map(dot).collect()
}
