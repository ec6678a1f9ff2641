//! Every table at three widths with the widest values: each cell stands whole on its row's line.

use crate::golden::{nine_rounds, single};
use crate::synthetic::Fault;
use loadgen::calibration::scorecard::{Check, Finding, Scorecard, Setting};
use loadgen::measurement::store::Stored;
use loadgen::quantity::{self, Place, Reading, Unit};
use loadgen::record::{Arrivals, Container, OpenLoop, Pacing, Waiting};
use loadgen::record::{Environment, Measurement};
use loadgen::report::{columns, scorecard, screen, sweep, terminal};
use loadgen::suite::results::{Results, Row};
use loadgen::suite::sample;
use loadgen::suite::search::Limits;
use loadgen::suite::sweep::{Along, Slo, Sweep, SweepFile};

const WIDTHS: [u16; 3] = [80, 100, 140];

/// The widest figure of a unit that a real trial may have.
fn widest(unit: Unit) -> f64 {
    match unit {
        Unit::Plain => 12_345_678.0,
        Unit::Whole => 20_000.0,
        Unit::Percent => 6_400.0,
        Unit::Bytes => 1000.0 * 1024.0 * 1024.0,
        Unit::BytesRate => 1000.0 * 1024.0,
        Unit::Ns => 12_300_000.0,
    }
}

fn widened(mut trial: Measurement) -> Measurement {
    for quantity in quantity::ALL {
        if let Reading::Field { set, .. } = quantity.reading {
            set(&mut trial, Some(widest(quantity.unit)));
        }
    }
    trial.counts.refused = 98_765_432;
    // In an environment of its own: `(container)` behind every name.
    trial.target.container = Some(Container::default());
    trial
}

/// The nine rounds with the widest values; in odd rounds another figure, so that ranges are as wide as they get.
fn wide_results() -> (&'static loadgen::suite::matrix::SuiteFile, Results) {
    let (file, store, _) = nine_rounds();
    let stored: Vec<Stored> = (store.records().iter().cloned())
        .map(|Stored { file, measurement }| Stored {
            file,
            measurement: widened(measurement),
        })
        .collect();
    (file, Results::of(&file.suite, &stored))
}

/// The line that begins with the row's name and holds the cell, in one of the tables: between blanks, or at an end.
fn holds(text: &str, name: &str, cell: &str) -> bool {
    text.lines().any(|line| {
        let rest = line.strip_prefix("  ").and_then(|line| line.strip_prefix(name));
        rest.is_some_and(|rest| format!("{rest}  ").contains(&format!("  {cell}  ")))
    })
}

#[test]
fn no_table_of_a_suite_breaks_a_cell_over_two_lines() {
    let (file, results) = wide_results();
    for width in WIDTHS {
        for workload in &file.suite.workloads {
            let text = terminal::workload(workload, &results, width);
            for row in results.of_workload(&workload.name) {
                for (place, _) in columns::GROUPS {
                    for column in columns::columns(place) {
                        let cell = (column.cell)(row);
                        assert!(
                            holds(&text, &columns::name(row), &cell),
                            "`{cell}` of {} is broken at {width}:\n{text}",
                            row.target
                        );
                    }
                }
            }
            let longest = text.lines().map(|line| line.chars().count()).max();
            assert!(
                longest <= Some(usize::from(width)),
                "{longest:?} columns at {width}:\n{text}"
            );
        }
    }
}

#[test]
fn the_overview_breaks_no_cell_however_many_workloads_it_has() {
    let (file, results) = wide_results();
    let mut file = file.clone();
    let rows: Vec<Row> = results.rows.clone();
    let mut results = results;
    for again in 2..5 {
        for workload in &nine_rounds().0.suite.workloads {
            let name = format!("{}-{again}", workload.name);
            results.rows.extend(
                rows.iter()
                    .filter(|row| row.workload == workload.name)
                    .cloned()
                    .map(|mut row| {
                        row.workload.clone_from(&name);
                        row
                    }),
            );
            let mut workload = workload.clone();
            workload.name = name;
            file.suite.workloads.push(workload);
        }
    }
    for row in &mut results.rows {
        // The overview looks targets up by their names.
        row.target = row.target.replace(" (container)", "");
    }
    for width in WIDTHS {
        let workloads = file.suite.workloads.iter();
        let text: String = workloads
            .map(|workload| {
                screen::overview(&file, &results, &workload.name, width)
                    + "
"
            })
            .collect();
        let cells = text.matches("12,345,678").count();
        assert!(
            cells >= file.suite.workloads.len() * file.suite.targets.len(),
            "at {width}:
{text}"
        );
        let longest = text.lines().map(|line| line.chars().count()).max();
        assert!(
            longest <= Some(usize::from(width)),
            "{longest:?} columns at {width}:\n{text}"
        );
    }
}

pub(crate) fn swept() -> (SweepFile, Vec<Stored>) {
    let file = SweepFile {
        schema_version: "1.0.0".into(),
        label: "2cpu-linux-6.18".into(),
        started_at: "2026-01-31T10:00:00Z".into(),
        command: vec!["loadgen".into(), "sweep".into()],
        sweep: Sweep {
            external: None,
            target: "event-tokio".into(),
            flags: vec![],
            duration_ms: 1000,
            seed: 1,
            along: Along::Rate {
                slo: Slo {
                    quantile: 99_900_000,
                    limit_ns: 2_000_000,
                },
                limits: Limits {
                    from_per_s: 1000,
                    least_per_s: 10,
                    most_per_s: 10_000_000,
                    precision: 0.05,
                    repeats: 3,
                },
            },
        },
        spent_ms: 1000,
        ended: None,
    };
    let trial = |rate_per_s| {
        let mut trial = widened(single("event-tokio", "steady", Fault::None));
        trial.plan.workload.pacing = Pacing::OpenLoop(OpenLoop {
            rate_per_s,
            arrivals: Arrivals::Poisson,
            ramp_ms: 0,
            waiting: Waiting::Hybrid,
        });
        trial.limiter = loadgen::record::Limiter::Connections;
        trial
    };
    let stored = [1000, 9_876_543].map(|rate| Stored {
        file: format!("records/{rate}.json"),
        measurement: trial(rate),
    });
    (file, stored.into())
}

#[test]
fn the_curve_of_a_sweep_breaks_no_cell() {
    let (file, stored) = swept();
    for width in WIDTHS {
        let text = sweep::text(&file, &stored, width);
        for cell in ["12,345,678", "1", "n/a (60,000 samples)", "0 of 1", "connections"] {
            for rate in ["1,000", "9,876,543"] {
                let is_whole = text.lines().any(|line| {
                    let words = line.trim_start();
                    words.starts_with(rate) && format!("{words}  ").contains(&format!("  {cell}  "))
                });
                assert!(is_whole, "`{cell}` of {rate} is broken at {width}:\n{text}");
            }
        }
        let curve = text.split("\n  result").next().unwrap();
        let longest = curve.lines().skip(2).map(|line| line.chars().count()).max();
        assert!(
            longest <= Some(usize::from(width)),
            "{longest:?} columns at {width}:\n{text}"
        );
    }
}

#[test]
fn a_scorecard_keeps_each_check_on_one_line() {
    let checks = vec![Check::timing(
        "p99.9 of the response time, 1 % of the frames held up",
        "ms",
        123_456.789,
        98_765.432,
        0.5,
        2.5,
    )];
    let setting = Setting {
        started_at: "2026-01-31T10:00:00Z".into(),
        length: "full",
        seed: 1,
        placement: sample::placement(),
        loadgen_version: "0.0.0",
        environment: Environment::default(),
    };
    let text = scorecard::text(&Scorecard::new(
        setting,
        vec![Finding::new("AC1", "a stall", checks, None)],
        true,
    ));
    let line = text.lines().rfind(|line| line.contains("p99.9")).unwrap();
    for cell in ["123456.789", "98765.432", "ms"] {
        assert!(line.contains(cell), "{text}");
    }
}

#[test]
fn the_published_tables_hold_every_figure_that_says_so() {
    let (file, results) = wide_results();
    let text = loadgen::report::models::runtimes(file, &results);
    for quantity in quantity::ALL.iter().filter(|each| each.is_shown_in(Place::Runtimes)) {
        assert!(
            text.contains(&format!("| {} |", quantity.title())),
            "{}:\n{text}",
            quantity.name
        );
    }
}
