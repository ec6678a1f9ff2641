//! The scorecard of `loadgen calibrate`: a table for people, one object for scripts.

use crate::calibration::scorecard::{Check, Finding, Kind, Scorecard, Verdict};
use crate::measurement::store;
use comfy_table::{CellAlignment, Table, presets};
use std::fmt::Write as _;

/// All tests: one table, and a sentence for this machine.
#[must_use]
pub fn text(card: &Scorecard) -> String {
    let mut text = machine(card);
    for finding in &card.findings {
        let _ = writeln!(text, "{}  {}\n    {}", finding.test, finding.title, verdict(finding));
        let _ = writeln!(text, "{}\n", indented(&table(&finding.checks).to_string()));
    }
    text + &summary(card)
}

fn machine(card: &Scorecard) -> String {
    let setting = &card.setting;
    let of = |value: &Option<String>| value.clone().unwrap_or_else(|| "unknown".to_string());
    let cpus = |cpus: &[usize]| match cpus {
        [] => "any CPU".to_string(),
        cpus => format!(
            "CPU {}",
            cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        ),
    };
    format!(
        "loadgen {} on {}, Linux {}, seed {}\ntruth server on {}, loadgen on {}\n\n",
        setting.loadgen_version,
        of(&setting.environment.cpu_model),
        of(&setting.environment.kernel),
        setting.seed,
        cpus(&setting.placement.server_cpus),
        cpus(&setting.placement.loadgen_cpus)
    )
}

/// The object with all figures.
#[must_use]
pub fn json(card: &Scorecard) -> String {
    store::pretty_json(card)
}

/// `pass`, or what is wrong, in a line.
#[must_use]
pub fn verdict(finding: &Finding) -> String {
    let word = word(finding.verdict);
    let why = finding.why.as_ref().map_or(String::new(), |why| format!(": {why}"));
    let quiet = finding.quiet.map_or(String::new(), |quiet| {
        let percent = |of: Option<f64>| of.map_or("unknown".to_string(), |of| format!("{of:.1} %"));
        format!(
            " (other programs {} of a CPU, waiting for a CPU {})",
            percent(quiet.foreign_cpu_percent),
            percent(quiet.run_queue_delay_percent)
        )
    });
    let tries = match finding.attempts {
        0 | 1 => String::new(),
        tries => format!(" after {tries} tries"),
    };
    format!("{word}{tries}{why}{quiet}")
}

fn table(checks: &[Check]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_header(["what", "expected", "measured", "may be", "unit", ""]);
    for check in checks {
        table.add_row([
            check.quantity.clone(),
            check.expected.map_or("-".to_string(), figure),
            figure(check.measured),
            tolerance(check),
            check.unit.to_string(),
            match (check.kind, check.holds()) {
                (Kind::Told, _) => "told",
                (_, true) => "ok",
                (_, false) => "OUTSIDE",
            }
            .to_string(),
        ]);
    }
    for column in [1, 2, 3] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn tolerance(check: &Check) -> String {
    match (check.at_least, check.at_most) {
        (Some(low), Some(high)) if low >= high => figure(low),
        (Some(low), Some(high)) => format!("{}..{}", figure(low), figure(high)),
        (Some(low), None) => format!(">= {}", figure(low)),
        (None, Some(high)) => format!("<= {}", figure(high)),
        (None, None) => String::new(),
    }
}

/// Three digits behind the point; small shares need more.
fn figure(value: f64) -> String {
    if value == value.trunc() && value.abs() < 1e15 {
        format!("{value:.0}")
    } else if value.abs() < 0.01 {
        format!("{value:.6}")
    } else {
        format!("{value:.3}")
    }
}

fn indented(text: &str) -> String {
    text.lines()
        .map(|line| format!("    {}", line.trim_end()))
        .collect::<Vec<_>>()
        .join("\n")
}

fn summary(card: &Scorecard) -> String {
    let of = |verdict| {
        let tests: Vec<&str> = card
            .findings
            .iter()
            .filter(|finding| finding.verdict == verdict)
            .map(|finding| finding.test)
            .collect();
        (tests.len(), tests.join(", "))
    };
    let ((passed, _), (_, failed), (_, disturbed)) = (of(Verdict::Pass), of(Verdict::Fail), of(Verdict::Inconclusive));
    let length = card.setting.length;
    let total = card.findings.len();
    let sentence = match card.verdict {
        Verdict::Pass => "loadgen measures on this machine what the formulas demand".to_string(),
        Verdict::Fail => format!("do not trust figures of loadgen on this machine: {failed} failed"),
        Verdict::Inconclusive if !card.complete => "it was stopped before all tests were run".to_string(),
        Verdict::Inconclusive => {
            format!("nothing is wrong, but nothing is proven by {disturbed}: close other programs, run again")
        }
    };
    format!(
        "verdict  {} ({length} calibration, {passed} of {total} tests passed): {sentence}\n",
        word(card.verdict)
    )
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Fail => "FAIL",
        Verdict::Inconclusive => "INCONCLUSIVE",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calibration::scorecard::{Quiet, Setting};
    use crate::record::Environment;
    use crate::suite::sample;

    fn card(foreign: f64) -> Scorecard {
        let quiet = Quiet {
            foreign_cpu_percent: Some(foreign),
            run_queue_delay_percent: Some(0.25),
        };
        let checks = vec![
            Check::timing("p99", "ms", 90.0, 91.25, 0.5, 2.5),
            Check::count("messages echoed", 5, 5),
            Check::told("send lag p50", "us", 12.5),
        ];
        let setting = Setting {
            started_at: "2026-01-31T10:00:00Z".into(),
            length: "quick",
            seed: 1,
            placement: sample::placement(),
            loadgen_version: "0.0.0",
            environment: Environment::default(),
        };
        Scorecard::new(setting, vec![Finding::new("AC1", "a stall", checks, Some(quiet))], true)
    }

    #[test]
    fn expected_stands_beside_measured_with_what_may_be() {
        let text = text(&card(0.5));
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let lines: Vec<String> = text.lines().map(words).collect();
        for line in [
            "truth server on CPU 0, loadgen on CPU 1",
            "AC1 a stall",
            "pass (other programs 0.5 % of a CPU, waiting for a CPU 0.2 %)",
            "p99 90 91.250 89.500..92.500 ms ok",
            "messages echoed 5 5 5 ok",
            "send lag p50 - 12.500 us told",
        ] {
            assert!(lines.contains(&line.to_string()), "{line} is not in\n{text}");
        }
        assert!(
            text.ends_with("loadgen measures on this machine what the formulas demand\n"),
            "{text}"
        );
    }

    #[test]
    fn an_inconclusive_card_says_so_and_what_to_do() {
        let text = text(&card(20.0));
        assert!(
            text.contains("INCONCLUSIVE: other programs used 20.0 % of a CPU (limit 3 %)"),
            "{text}"
        );
        assert!(
            text.contains("nothing is proven by AC1: close other programs"),
            "{text}"
        );
    }

    #[test]
    fn scripts_get_every_figure() {
        let value: serde_json::Value = serde_json::from_str(&json(&card(0.5))).unwrap();
        assert_eq!((&value["verdict"], &value["seed"]), (&"pass".into(), &1.into()));
        assert_eq!(value["findings"][0]["checks"][0]["at_most"], 92.5);
        assert_eq!(value["findings"][0]["checks"][2]["expected"], serde_json::Value::Null);
    }
}
