//! The result of a sweep in words: name and sentence.

use super::{P50, Row, rows};
use crate::measurement::store::Stored;
use crate::quantity::MESSAGES_PER_S;
use crate::record::Limiter;
use crate::suite::search::{Limits, Next, Outcome, Search};
use crate::suite::sweep::{Along, Slo, SweepFile, broken_why, runs};
use crate::text::{count, counted, minutes, time_ns};
use std::time::Duration;

type Sentence = (&'static str, String);

/// The result, what limited it, the knee, what may be believed.
pub(super) fn findings(file: &SweepFile, stored: &[Stored]) -> Vec<Sentence> {
    let rows = rows(stored);
    let mut findings = match &file.sweep.along {
        Along::Rate { slo, limits } => of_rates(slo, &told(slo, limits, stored), &rows),
        Along::Clients { .. } => of_clients(&rows),
    };
    if let Some((_, sentence)) = knee(file, &rows) {
        findings.push(("knee", sentence));
    }
    findings.push(("verdict", verdict(&rows)));
    if file.ended.as_deref() == Some("interrupted") {
        findings.push(("note", "interrupted: this is what there is so far".to_string()));
    }
    findings.push(("spent", minutes(Duration::from_millis(file.spent_ms))));
    findings
}

/// The search after all runs that there are.
pub(super) fn told(slo: &Slo, limits: &Limits, stored: &[Stored]) -> Search {
    let mut search = Search::new(*limits);
    for run in runs(stored) {
        search.tell(run.at, broken_why(slo, run.trial).is_none());
    }
    search
}

fn of_rates(slo: &Slo, search: &Search, rows: &[Row<'_>]) -> Vec<Sentence> {
    let mut findings = vec![("result", rate_result(slo, search, rows))];
    if let Next::Done(Outcome::Found { broken_per_s, .. } | Outcome::NeverKept { broken_per_s }) = search.next()
        && let Some(row) = rows.iter().find(|row| row.at == broken_per_s)
    {
        let why = row.runs.iter().find_map(|run| broken_why(slo, run.trial));
        let why = why.unwrap_or_default();
        findings.push((
            "limited by",
            format!("{}: at {}/s {why}", limiter(row), count(broken_per_s)),
        ));
    }
    findings
}

fn of_clients(rows: &[Row<'_>]) -> Vec<Sentence> {
    let best = rows.iter().max_by(|one, other| rate(one).total_cmp(&rate(other)));
    best.map_or_else(Vec::new, |best| {
        let clients = count(best.at);
        let most = MESSAGES_PER_S.print(rate(best));
        vec![
            ("result", format!("most messages/s with {clients} clients: {most}")),
            ("limited by", format!("{}, with {clients} clients", limiter(best))),
        ]
    })
}

fn verdict(rows: &[Row<'_>]) -> String {
    let trials: usize = rows.iter().map(|row| row.runs.len()).sum();
    let valid: usize = rows.iter().map(|row| row.valid).sum();
    let invalid = if valid < trials {
        "; the others are kept, and what rests on them may not be believed"
    } else {
        ""
    };
    format!("{valid} of {} valid{invalid}", counted(trials as u64, "run", "runs"))
}

fn rate(row: &Row<'_>) -> f64 {
    row.figure(&MESSAGES_PER_S).unwrap_or_default()
}

/// What the runs name most often.
pub(super) fn limiter(row: &Row<'_>) -> Limiter {
    let mut named: Vec<(Limiter, usize)> = Vec::new();
    for limiter in row.runs.iter().map(|run| run.trial.limiter) {
        match named.iter_mut().find(|(name, _)| *name == limiter) {
            Some((_, times)) => *times += 1,
            None => named.push((limiter, 1)),
        }
    }
    let most = named.into_iter().rev().max_by_key(|(_, times)| *times);
    most.map_or(Limiter::Unknown, |(limiter, _)| limiter)
}

fn rate_result(slo: &Slo, search: &Search, rows: &[Row<'_>]) -> String {
    let of = |at: u64| rows.iter().find(|row| row.at == at);
    let votes = |at: u64, kept: bool| {
        of(at).map_or_else(String::new, |row| {
            let votes = if kept {
                row.kept(slo)
            } else {
                row.runs.len() - row.kept(slo)
            };
            let hollow = if row.valid == 0 { ", none valid" } else { "" };
            format!("{votes} of {}{hollow}", counted(row.runs.len() as u64, "run", "runs"))
        })
    };
    match search.next() {
        Next::Done(Outcome::Found {
            kept_per_s,
            broken_per_s,
        }) => format!(
            "{} messages/s keep {slo} ({}), {}/s break it ({})",
            count(kept_per_s),
            votes(kept_per_s, true),
            count(broken_per_s),
            votes(broken_per_s, false)
        ),
        Next::Done(Outcome::NeverBroken { kept_per_s }) => format!(
            "{} messages/s, the most that was to be tried, keep {slo} ({}): the limit lies higher",
            count(kept_per_s),
            votes(kept_per_s, true)
        ),
        Next::Done(Outcome::NeverKept { broken_per_s }) => format!(
            "not even {} messages/s keep {slo} ({})",
            count(broken_per_s),
            votes(broken_per_s, false)
        ),
        Next::Measure { rate_per_s, stage } => format!(
            "not found yet: {}/s comes next, to {}",
            count(rate_per_s),
            stage.as_str()
        ),
    }
}

/// Where the curve turns. Of rates: the highest before the median response is twice that of the lowest rate. Of clients:
/// the fewest that reach 95 % of the most messages/s.
pub(super) fn knee(file: &SweepFile, rows: &[Row<'_>]) -> Option<(u64, String)> {
    match &file.sweep.along {
        Along::Rate { .. } => {
            let base = rows.first()?.response.quantile(P50)?;
            let turn = rows
                .iter()
                .position(|row| row.response.quantile(P50).is_none_or(|median| median >= 2 * base))?;
            let (before, after) = (rows.get(turn.checked_sub(1)?)?, &rows[turn]);
            Some((
                before.at,
                format!(
                    "{}/s: the median response is {} there and {} at {}/s, twice that of the lowest rate ({}) or more",
                    count(before.at),
                    before.percentile(P50),
                    after.percentile(P50),
                    count(after.at),
                    time_ns(base)
                ),
            ))
        }
        Along::Clients { .. } => {
            let most = rows.iter().map(rate).fold(0.0, f64::max);
            let knee = rows.iter().find(|row| rate(row) >= 0.95 * most)?;
            Some((
                knee.at,
                format!(
                    "{} clients: the fewest that reach 95 % of the most messages/s; more clients only wait longer",
                    count(knee.at)
                ),
            ))
        }
    }
}
