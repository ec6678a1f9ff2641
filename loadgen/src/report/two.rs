//! Two targets, the second against the first: the paragraph that a comparison of two builds is made for.

use crate::report::terminal::wrapped;
use crate::suite::findings::Findings;
use crate::suite::matrix::Suite;
use crate::suite::regression::{Change, changes};
use crate::text::percent;
use std::fmt::Write as _;

/// Widest line.
const WIDTH: u16 = 100;

/// One line for each workload, and what can be said of a slowdown; empty where there are not two targets with rounds enough.
#[must_use]
pub fn second_against_first(suite: &Suite, findings: &Findings) -> String {
    let [first, second] = &suite.targets[..] else {
        return String::new();
    };
    let changes = changes(findings, first, second);
    if changes.is_empty() {
        return String::new();
    }
    let mut text = wrapped(
        &format!(
            "{second} / {first}, messages per CPU second of the server, with the interval of 95 %{}:",
            together(suite)
        ),
        0,
        2,
        WIDTH,
    );
    for change in &changes {
        let name = &change.table.workload;
        let _ = writeln!(
            text,
            "  {name:<10} {:.3} ({:.3}..{:.3})",
            change.ratio, change.low, change.high
        );
    }
    if let Some(allowed) = suite.slowdown_allowed {
        text.push_str(&wrapped(&verdict(&changes, allowed), 2, 2, WIDTH));
    }
    text + "\n"
}

fn together(suite: &Suite) -> &'static str {
    match suite.slowdown_allowed {
        Some(_) => " for all workloads together",
        None => " of each",
    }
}

fn verdict(changes: &[Change<'_>], allowed: f64) -> String {
    let allowed_percent = percent(allowed * 100.0);
    let caught = changes
        .iter()
        .map(|change| change.would_have_caught)
        .fold(0.0, f64::max);
    let caught = format!(
        "slowdowns of {} and more would have been told with a probability of 80 % under every workload",
        percent(caught * 100.0)
    );
    if changes.iter().any(|change| change.is_slower_than(allowed)) {
        return format!("slower by more than {allowed_percent} beyond doubt; {caught}");
    }
    format!("not shown to be slower by more than {allowed_percent}; {caught}")
}
