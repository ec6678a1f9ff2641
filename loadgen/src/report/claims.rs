//! What was found, in sentences: who is ahead of whom and by how much, who is not told apart, and how sure that is.

use crate::record::ExternalModel;
use crate::suite::findings::{Findings, Judged, Pairing, Table, Target, has_rounds_enough};
use crate::suite::fit::ROUNDS_FOR_A_CLAIM;
use crate::suite::letters::share;
use crate::text::{counted, figure, percent, time_ns};
use crate::units::round_u64;
use echo_contract::catalog::{self, Model};

/// What a table says, the most important first.
#[must_use]
pub fn sentences(table: &Table) -> Vec<String> {
    let what = format!("{}, {}", table.quantity.title(), table.workload);
    if !has_rounds_enough(table) {
        let most = table.targets.iter().map(|target| target.rounds).max().unwrap_or(0);
        return vec![format!(
            "{what}: no difference is claimed before {ROUNDS_FOR_A_CLAIM} rounds ({most} so far)"
        )];
    }
    let mut found = between_models(table);
    found.extend(not_told_apart(table));
    found
        .into_iter()
        .map(|sentence| format!("{what}: {sentence}"))
        .collect()
}

/// The best of the best model against the best of each other model, and the range of the best model's others. The best of the
/// servers whose model nobody told comes last: it speaks for no model.
#[must_use]
pub fn between_models(table: &Table) -> Vec<String> {
    let leaders = leaders(table);
    let (Some((best, rest)), 2..) = (leaders.split_first(), leaders.len()) else {
        return within_one_model(table);
    };
    let of_no_model = table.targets.iter().filter(|target| is_claimable(target));
    let of_no_model = of_no_model.filter(|target| model(target).is_none()).take(1);
    rest.iter()
        .copied()
        .chain(of_no_model)
        .filter_map(|other| {
            let pair = table.pair(&best.target, &other.target)?;
            let others = others_of_model(table, best, other);
            Some(format!("{}{others}", against(table, pair)))
        })
        .collect()
}

/// The best against the worst, where all are of one model.
fn within_one_model(table: &Table) -> Vec<String> {
    let mut with_level = table.targets.iter().filter(|target| is_claimable(target));
    let ends = with_level.next().zip(with_level.next_back());
    let pair = ends.and_then(|(best, worst)| table.pair(&best.target, &worst.target));
    pair.map(|pair| against(table, pair)).into_iter().collect()
}

/// One pair with its interval.
fn against(table: &Table, pair: &Pairing) -> String {
    let Pairing {
        left,
        right,
        comparison,
        ..
    } = pair;
    // A ratio below 1 reads better turned round.
    let shown = match comparison.ratio >= 1.0 {
        true => *comparison,
        false => comparison.turned(),
    };
    let interval = format!("{}x ({}..{})", two(shown.ratio), two(shown.low), two(shown.high));
    if !comparison.claimed {
        return format!("{left} and {right} are not shown to differ: {interval}");
    }
    match table.quantity {
        Judged::Capacity if table.workload == "churn" => {
            format!("{left} serves {interval} as many connections per CPU second as {right}")
        }
        Judged::Capacity => format!("{left} answers {interval} as many messages per CPU second as {right}"),
        Judged::MessagesPerS => format!("{left} answers {interval} as many messages a second as {right}"),
        Judged::CpuUsPerMessage => format!("a message costs {right} {interval} the CPU that it costs {left}"),
        Judged::ResponseP50Ns | Judged::ResponseP99Ns => format!("that of {right} is {interval} that of {left}"),
    }
}

/// `; the other event targets 1.6x to 2.1x`, against the same rival.
fn others_of_model(table: &Table, best: &Target, rival: &Target) -> String {
    let of_model =
        |target: &&Target| target.target != best.target && model(target) == model(best) && !target.oversubscribed;
    let ratios: Vec<f64> = table
        .targets
        .iter()
        .filter(of_model)
        .filter_map(|target| Some(target.level? / rival.level?))
        .map(|ratio| {
            if table.quantity.more_is_better() {
                ratio
            } else {
                1.0 / ratio
            }
        })
        .collect();
    let ends = (
        ratios.iter().copied().reduce(f64::min),
        ratios.iter().copied().reduce(f64::max),
    );
    match (ends, ratios.len(), model(best)) {
        ((Some(least), Some(most)), 2.., Some(model)) => {
            format!(
                "; the other {} targets {}x to {}x",
                model.as_str(),
                two(least),
                two(most)
            )
        }
        _ => String::new(),
    }
}

/// Who shares the best one's letters, and what would have shown.
#[must_use]
pub fn not_told_apart(table: &Table) -> Option<String> {
    let first = table.targets.iter().find(|target| is_claimable(target))?;
    let shares = |target: &&Target| is_claimable(target) && share(&target.letters, &first.letters);
    let group: Vec<&str> = table
        .targets
        .iter()
        .filter(shares)
        .map(|target| target.target.as_str())
        .collect();
    if group.len() < 2 {
        return None;
    }
    // What would have shown among these, not among targets elsewhere in the table.
    let within = |pair: &&Pairing| group.contains(&pair.left.as_str()) && group.contains(&pair.right.as_str());
    let pairs = || {
        let within = table.pairs.iter().filter(within);
        within.filter(|pair| !pair.comparison.claimed)
    };
    let shown = pairs().map(|pair| pair.comparison.would_have_shown).reduce(f64::max);
    let more = pairs().filter_map(|pair| pair.more_rounds_to_show_5_percent).max();
    let shown = shown.map_or_else(String::new, |shown| {
        let more = more.filter(|more| *more > 0).map_or_else(String::new, |more| {
            format!("; {} would show 5 %", counted(more as u64, "more round", "more rounds"))
        });
        let shown = percent((shown - 1.0) * 100.0);
        format!(" (a difference of {shown} would have shown with a probability of 80 %{more})")
    });
    Some(format!("not shown to differ: {}{shown}", listed(&group)))
}

/// The names, as many as a sentence can hold.
fn listed(names: &[&str]) -> String {
    const MOST: usize = 16;
    match names.len() {
        number if number > MOST => format!("{} and {} more", names[..MOST].join(", "), number - MOST),
        _ => names.join(", "),
    }
}

/// How the A/A control came out, one sentence.
#[must_use]
pub fn control(findings: &Findings) -> String {
    let controls: Vec<&Pairing> = findings
        .tables
        .iter()
        .filter_map(|table| table.control.as_ref())
        .collect();
    let Some(widest) = controls
        .iter()
        .max_by(|a, b| a.comparison.ratio.ln().abs().total_cmp(&b.comparison.ratio.ln().abs()))
    else {
        return "A/A control: no target has run twice in two rounds or more".to_string();
    };
    let alarms = controls
        .iter()
        .filter(|pair| pair.comparison.p_value_alone < 0.05)
        .count();
    format!(
        "A/A control: {} against itself differed by {} at most, and by p < 0.05 in {alarms} of {} tables (one in twenty is expected)",
        widest.left,
        percent((widest.comparison.ratio.ln().abs().exp() - 1.0) * 100.0),
        controls.len()
    )
}

/// The best target of each model, best model first.
fn leaders(table: &Table) -> Vec<&Target> {
    let mut seen = Vec::new();
    let claimable = table.targets.iter().filter(|target| is_claimable(target));
    let is_first_of_model = |target: &&Target| {
        let model = model(target);
        let is_new = model.is_some() && !seen.contains(&model);
        seen.push(model);
        is_new
    };
    claimable.filter(is_first_of_model).collect()
}

/// Whether a sentence may be said about it.
fn is_claimable(target: &Target) -> bool {
    target.level.is_some() && target.rounds >= ROUNDS_FOR_A_CLAIM && !target.oversubscribed
}

/// Of the catalog's targets, and of others that were declared to be of one.
fn model(target: &Target) -> Option<Model> {
    match target.declared_model {
        Some(ExternalModel::Fork) => Some(Model::Fork),
        Some(ExternalModel::Thread) => Some(Model::Thread),
        Some(ExternalModel::Event) => Some(Model::Event),
        Some(ExternalModel::Other) => None,
        None => {
            // Behind the name stands the value of a dimension.
            let name = target.target.split(" (").next().unwrap_or_default();
            catalog::find(name).map(|row| row.model)
        }
    }
}

/// A level as it is printed.
#[must_use]
pub fn level(quantity: Judged, level: f64) -> String {
    match quantity {
        Judged::ResponseP50Ns | Judged::ResponseP99Ns => time_ns(round_u64(level)),
        Judged::Capacity | Judged::MessagesPerS | Judged::CpuUsPerMessage => figure(level),
    }
}

fn two(ratio: f64) -> String {
    format!("{ratio:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::fit::Comparison;

    /// Capacity under steady of these servers, best first; each pair is known within 5 %.
    fn table(levels: &[(&str, Option<ExternalModel>, f64)]) -> Table {
        let target = |(name, declared_model, level): &(&str, Option<ExternalModel>, f64)| Target {
            target: (*name).into(),
            level: Some(*level),
            letters: String::new(),
            rounds: ROUNDS_FOR_A_CLAIM,
            residual_deviation: Some(0.02),
            interval: None,
            at: None,
            oversubscribed: false,
            declared_model: *declared_model,
        };
        let pair = |left: &Target, right: &Target| {
            let ratio = left.level.unwrap() / right.level.unwrap();
            Pairing {
                left: left.target.clone(),
                right: right.target.clone(),
                comparison: Comparison {
                    ratio,
                    low: ratio / 1.05,
                    high: ratio * 1.05,
                    p_value: 0.01,
                    p_value_alone: 0.01,
                    claimed: ratio > 1.05,
                    would_have_shown: 1.05,
                },
                more_rounds_to_show_5_percent: Some(0),
            }
        };
        let targets: Vec<Target> = levels.iter().map(target).collect();
        let behind = |place: usize| targets[place + 1..].iter();
        let pairs = targets.iter().enumerate();
        let pairs = pairs.flat_map(|(place, left)| behind(place).map(move |right| pair(left, right)));
        Table {
            workload: "steady".into(),
            open_loop: false,
            quantity: Judged::Capacity,
            pairs: pairs.collect(),
            targets,
            control: None,
            would_have_shown: None,
            more_rounds_to_show_5_percent: None,
        }
    }

    #[test]
    fn a_server_of_no_told_model_leads_no_models_headline_and_is_named_behind_them() {
        let undeclared = Some(ExternalModel::Other);
        let found = between_models(&table(&[
            ("mine", undeclared, 400.0),
            ("event-epoll", None, 300.0),
            ("event-tokio", None, 280.0),
            ("theirs", undeclared, 200.0),
            ("thread", None, 100.0),
        ]));
        assert_eq!(
            found,
            [
                "event-epoll answers 3.00x (2.86..3.15) as many messages per CPU second as thread",
                "mine answers 1.33x (1.27..1.40) as many messages per CPU second as event-epoll",
            ]
        );
    }

    #[test]
    fn a_server_that_is_declared_to_be_of_a_model_stands_among_its_targets() {
        let found = between_models(&table(&[
            ("event-epoll", None, 300.0),
            ("go", Some(ExternalModel::Event), 240.0),
            ("event-tokio", None, 210.0),
            ("thread", None, 100.0),
        ]));
        assert_eq!(
            found,
            [
                "event-epoll answers 3.00x (2.86..3.15) as many messages per CPU second as thread; the other event targets 2.10x \
                 to 2.40x"
            ]
        );
    }

    #[test]
    fn among_servers_of_one_model_or_none_the_best_is_told_against_the_worst() {
        let undeclared = Some(ExternalModel::Other);
        let builds = [
            ("before", undeclared, 300.0),
            ("between", undeclared, 200.0),
            ("after", undeclared, 100.0),
        ];
        let of_none = between_models(&table(&builds));
        assert_eq!(
            of_none,
            ["before answers 3.00x (2.86..3.15) as many messages per CPU second as after"]
        );
        let beside_one = between_models(&table(&[("mine", undeclared, 300.0), ("event-epoll", None, 200.0)]));
        assert_eq!(
            beside_one,
            ["mine answers 1.50x (1.43..1.58) as many messages per CPU second as event-epoll"]
        );
    }
}
