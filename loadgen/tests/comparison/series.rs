//! `--series` in both formats against a file each.

use crate::golden::{expect, golden};
use loadgen::record::Measurement;
use loadgen::recorder::outcome::Kind;
use loadgen::recorder::window::{MergedWindow, TimedWindow, WindowSeries};
use loadgen::report::series::Format;
use std::time::{Duration, SystemTime};

const WINDOW_NS: u64 = 100_000_000;

/// Half a second and a rest: a full window, one with few samples, one with each kind of failure, one in which nothing happened, one that
/// is cut short, and what ended after the phase.
fn windows() -> Vec<TimedWindow> {
    let mut series = WindowSeries::new(WINDOW_NS, 5);
    series.end_at(450_000_000);
    for message in 0..2_000 {
        series.sent(message * 50_000);
        series.ok(message * 50_000, 200_000 + message * 100);
    }
    for message in 0..30 {
        series.sent(110_000_000);
        series.ok(110_000_000 + message, 1_000_000);
    }
    for (more, kind) in (1..).zip(Kind::ALL) {
        for _ in 0..more {
            series.sent(250_000_000);
            series.error(250_000_000, kind);
        }
    }
    series.sent(410_000_000);
    series.ok(410_000_000, 30_000_000);
    series.sent(440_000_000);
    series.ok(460_000_000, 20_000_000);
    let from = SystemTime::UNIX_EPOCH + Duration::new(1_769_853_603, 250_000_000);
    let lengths = [
        Some(WINDOW_NS),
        Some(WINDOW_NS),
        Some(WINDOW_NS),
        Some(WINDOW_NS),
        Some(WINDOW_NS / 2),
        None,
    ];
    (0..)
        .zip(lengths)
        .map(|(place, length_ns)| TimedWindow {
            from_ns: place as u64 * WINDOW_NS,
            length_ns,
            at: from + Duration::from_nanos(place as u64 * WINDOW_NS),
            window: MergedWindow::of(&[series.shared()], place),
        })
        .collect()
}

fn text(format: Format) -> String {
    let lines: String = windows().iter().map(|window| format.line(window)).collect();
    format.head() + &lines
}

#[test]
fn each_format_is_as_its_file_says() {
    expect(&golden("series.ndjson"), &text(Format::Ndjson));
    expect(&golden("series.csv"), &text(Format::Csv));
}

#[test]
fn both_formats_hold_the_same_figures() {
    let (json, csv) = (text(Format::Ndjson), text(Format::Csv));
    let mut rows = csv.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let head = rows.next().unwrap();
    for (line, row) in json.lines().zip(rows) {
        let object: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(object.as_object().unwrap().len(), head.len());
        for (name, cell) in head.iter().zip(row) {
            let shown = match &object[*name] {
                serde_json::Value::Null => String::new(),
                serde_json::Value::String(text) => text.clone(),
                number => number.as_f64().unwrap().to_string(),
            };
            assert_eq!(shown, cell, "{name}");
        }
    }
}

/// The names that lines and records share mean the same.
#[test]
fn a_line_names_its_figures_as_the_record_does() {
    let object: serde_json::Value = serde_json::from_str(text(Format::Ndjson).lines().next().unwrap()).unwrap();
    let record = serde_json::to_value(loadgen::record::Window::default()).unwrap();
    let mut of_record: Vec<&String> = record.as_object().unwrap().keys().collect();
    of_record.retain(|name| *name != "server_cpu_ns");
    for name in of_record {
        assert!(object.get(name).is_some(), "{name}");
    }
    let counts = serde_json::to_value(Measurement::default().counts).unwrap();
    for kind in Kind::ALL {
        assert!(
            object.get(kind.as_str()).is_some() && counts.get(kind.as_str()).is_some(),
            "{kind:?}"
        );
    }
}
