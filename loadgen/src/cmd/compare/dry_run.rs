//! `compare --dry-run`: what would run and how long it would take, in words.

use crate::suite::estimate::whole;
use crate::suite::matrix::{Suite, SuiteFile};
use crate::suite::order;
use crate::text::{counted, minutes, workload as workload_line};
use std::fmt::Write as _;

/// The plan: suite, targets, workloads, the order of the round that comes first, rounds, trials and minutes.
pub(in crate::cmd) fn text(file: &SuiteFile) -> String {
    let suite = &file.suite;
    let whole = whole(file);
    let mut text = head(suite);
    let _ = writeln!(
        text,
        "\norder of round {}, about {}:",
        whole.first,
        minutes(whole.first_time)
    );
    for (place, pair) in (1..).zip(&order::of_round(suite, whole.first)) {
        let _ = writeln!(text, "  {place:>3}  {:<20} {}", pair.label(), pair.workload);
    }
    let _ = writeln!(text, "\n{}; nothing was measured", takes(file));
    text
}

/// Suite, targets and workloads.
pub(super) fn head(suite: &Suite) -> String {
    let mut text = format!(
        "suite {}, seed {}, at most {} within {}\n",
        suite.name,
        suite.seed,
        counted(u64::from(suite.rounds_max), "round", "rounds"),
        minutes(suite.budget())
    );
    let targets: Vec<&str> = suite.all_targets().map(String::as_str).collect();
    let _ = writeln!(text, "targets {}", targets.join(", "));
    if let Some(load) = &suite.load {
        let _ = writeln!(
            text,
            "the first {} saturate every target; the loads are shares of what each reaches",
            counted(u64::from(load.rounds), "round", "rounds")
        );
    }
    let longest = suite.workloads.iter().map(|workload| workload.name.len()).max();
    let width = longest.unwrap_or_default().max(10);
    for workload in &suite.workloads {
        let _ = writeln!(text, "  {:<width$} {}", workload.name, workload_line(workload));
    }
    for left_out in &suite.left_out {
        let _ = writeln!(text, "  {:<width$} left out: {}", left_out.workload, left_out.why);
    }
    text
}

/// `about 7 min 12 s for 8 rounds, 376 trials`.
pub(super) fn takes(file: &SuiteFile) -> String {
    let rounds = whole(file).rounds;
    format!(
        "about {} for {}, {}",
        minutes(rounds.time),
        counted(u64::from(rounds.number), "round", "rounds"),
        counted(rounds.trials, "trial", "trials")
    )
}
