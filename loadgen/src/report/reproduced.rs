//! What became of a comparison's claims in another one: as text, as JSON, as CSV.

use super::csv::{self, cell, maybe};
use super::table::{Column, Group, fitted};
use super::terminal::wrapped;
use crate::measurement::store::pretty_json;
use crate::suite::findings::Judged;
use crate::suite::reproduced::{Claim, Interval, Reproduced, Tally, Verdict};
use crate::text::counted;
use serde::Serialize;

/// The two folders as they were typed, and what the reader should know of them, one sentence each.
#[derive(Clone, Debug, Serialize)]
pub struct Heading<'a> {
    pub first: &'a str,
    pub second: &'a str,
    pub remarks: Vec<String>,
}

/// How many claims hold, by table, and each that does not.
#[must_use]
pub fn text(heading: &Heading<'_>, found: &Reproduced, width: u16) -> String {
    let mut text = wrapped(&summary(heading, &found.tally()), 0, 2, width);
    for sentence in heading.remarks.iter().chain(&apart(found)) {
        text.push_str(&wrapped(&format!("- {sentence}"), 0, 2, width));
    }
    let tables = found.by_table();
    if !tables.is_empty() {
        text.push('\n');
        text.push_str(&by_table(&tables, width));
        text.push('\n');
    }
    let fallen: Vec<&Claim> = found.claims.iter().filter(|claim| is_fallen(claim)).collect();
    if !fallen.is_empty() {
        text.push_str("\ndoes not hold\n");
    }
    for claim in fallen {
        let now = claim.now.as_ref().map(interval).unwrap_or_default();
        let line = format!(
            "{}, {}: {} / {} was {}, is {now}: {}",
            claim.workload,
            claim.quantity.title(),
            claim.left,
            claim.right,
            interval(&claim.then),
            claim.verdict.as_str()
        );
        text.push_str(&wrapped(&line, 2, 4, width));
    }
    text
}

/// Everything, for other programs.
#[must_use]
pub fn json(heading: &Heading<'_>, found: &Reproduced) -> String {
    #[derive(Serialize)]
    struct All<'a> {
        #[serde(flatten)]
        heading: &'a Heading<'a>,
        tally: Tally,
        holding_percent: Option<f64>,
        claims: &'a [Claim],
    }
    let tally = found.tally();
    pretty_json(&All {
        heading,
        tally,
        holding_percent: tally.holding_percent(),
        claims: &found.claims,
    })
}

/// One row per claim.
#[must_use]
pub fn csv(found: &Reproduced) -> String {
    csv::table(found.claims.iter().map(|claim| {
        let now = |of: fn(&Interval) -> f64| claim.now.as_ref().map(of);
        vec![
            cell("workload", &claim.workload),
            cell("quantity", claim.quantity.title()),
            cell("left", &claim.left),
            cell("right", &claim.right),
            cell("ratio_then", claim.then.ratio),
            cell("low_then", claim.then.low),
            cell("high_then", claim.then.high),
            maybe("ratio_now", now(|interval| interval.ratio)),
            maybe("low_now", now(|interval| interval.low)),
            maybe("high_now", now(|interval| interval.high)),
            cell("verdict", claim.verdict.as_str()),
            cell("claimed_again", claim.claimed_again),
        ]
    }))
}

fn summary(heading: &Heading<'_>, tally: &Tally) -> String {
    let Heading { first, second, .. } = heading;
    match (tally.claims, tally.holding_percent()) {
        (0, _) => format!("{first} claims no difference, so there is nothing that could hold in {second}."),
        (claims, None) => format!(
            "{first} makes {}, and {second} can judge none of them.",
            counted(claims as u64, "claim", "claims")
        ),
        (_, Some(percent)) => format!(
            "{} of {} of {first} {} in {second} ({percent:.1} %): the same sign, and the intervals overlap. {second} claims {} of them again by itself.",
            tally.hold,
            counted(tally.judged as u64, "claim", "claims"),
            if tally.judged == 1 { "holds" } else { "hold" },
            tally.claimed_again
        ),
    }
}

/// What the second could not judge.
fn apart(found: &Reproduced) -> Vec<String> {
    let told = |verdict: Verdict, why: &str| {
        let number = found.claims.iter().filter(|claim| claim.verdict == verdict).count();
        let claims = counted(number as u64, "further claim", "further claims");
        (number > 0).then(|| format!("{claims} could not be judged: {why}"))
    };
    let few = told(
        Verdict::TooFewRounds,
        "a target has fewer than five rounds that stand in the second",
    );
    let missing = told(Verdict::NotMeasured, "the second has no figure of both targets");
    few.into_iter().chain(missing).collect()
}

fn by_table(tables: &[(&str, Judged, Tally)], width: u16) -> String {
    let names: Vec<String> = tables
        .iter()
        .map(|(workload, quantity, _)| format!("{workload}, {}", quantity.title()))
        .collect();
    let column = |heading: &str, of: fn(&Tally) -> usize| Column {
        heading: heading.to_string(),
        cells: tables.iter().map(|(_, _, tally)| of(tally).to_string()).collect(),
    };
    let group = Group {
        name: String::new(),
        columns: vec![
            column("claims", |tally| tally.claims),
            column("judged", |tally| tally.judged),
            column("hold", |tally| tally.hold),
            column("claimed again", |tally| tally.claimed_again),
        ],
    };
    fitted(&names, vec![group], width).join("\n\n")
}

fn is_fallen(claim: &Claim) -> bool {
    claim.verdict.is_judged() && claim.verdict != Verdict::Holds
}

fn interval(interval: &Interval) -> String {
    format!("{:.3} ({:.3}..{:.3})", interval.ratio, interval.low, interval.high)
}
