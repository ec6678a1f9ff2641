//! `compare --add TARGET DIR`: a further target under the plan of a comparison that is there.

use super::asked::{DEFAULT_BUDGET, MOST_ROUNDS, is_open_ended};
use super::{CompareArgs, milliseconds};
use crate::cmd::resolve::servers::servers;
use crate::failure::Failure;
use crate::measurement::store::Stored;
use crate::record::{External, Figure, Start};
use crate::suite::findings::Findings;
use crate::suite::fit::ROUNDS_FOR_A_CLAIM;
use crate::suite::matrix::{self, Addition, Suite, SuiteFile};
use crate::suite::results::round_of;
use crate::units::count_f64;

/// The comparison with the target in rounds of its own, behind those that there are.
///
/// # Errors
/// Usage, with the target named: not known, there already, or nothing that it could be measured beside.
pub(super) fn added(
    target: &str,
    args: &CompareArgs,
    mut file: SuiteFile,
    records: &[Stored],
) -> Result<SuiteFile, Failure> {
    let suite = &mut file.suite;
    let usage = |text: String| Failure::usage(format!("--add {target}: {text}"));
    let externals = servers(&args.servers)?;
    let target = one_of(target, &externals).map_err(usage)?;
    if suite.all_targets().any(|known| *known == target) {
        return Err(usage(
            "it is in this comparison already: go on with --resume DIR and more --rounds".to_string(),
        ));
    }
    if suite.base.start != Start::Always {
        return Err(usage(
            "the comparison is of servers that ran already, and what ran beside them is not known: compare anew with \
             --targets running"
                .to_string(),
        ));
    }
    if suite.load.is_some() {
        return Err(usage(
            "the comparison offers shares of what its targets reached saturated, and this one was not: compare anew with it among \
             --targets"
                .to_string(),
        ));
    }
    let beside = beside(suite, &Findings::of(suite, records));
    if beside.is_empty() {
        return Err(usage(
            "no target of the comparison has a figure to be compared with".to_string(),
        ));
    }
    let rounds_so_far = records
        .iter()
        .map(|stored| round_of(&stored.measurement))
        .max()
        .unwrap_or(0);
    let as_the_others = rounds_so_far.max(u32::try_from(ROUNDS_FOR_A_CLAIM).unwrap_or(u32::MAX));
    let rounds = match args.rounds {
        Some(rounds) => rounds,
        None if is_open_ended(args) => MOST_ROUNDS,
        None => as_the_others,
    };
    suite
        .externals
        .extend(externals.into_iter().filter(|server| server.name == target));
    suite.additions.push(Addition {
        target,
        beside,
        first_round: rounds_so_far + 1,
        rounds,
    });
    suite.rounds_max = rounds_so_far + rounds;
    suite.budget_ms = file.spent_ms + milliseconds(args.budget.unwrap_or(DEFAULT_BUDGET));
    suite.precision = args.precision.or(suite.precision);
    Ok(file)
}

/// The one target that is named.
fn one_of(target: &str, externals: &[External]) -> Result<String, String> {
    let named = matrix::targets(target, externals).map_err(|text| text.replace("--targets does", "it does"))?;
    match &named[..] {
        [one] if matrix::is_address(one) => Err(
            "what runs at an address was not there when the others were measured: compare anew with it among --targets"
                .to_string(),
        ),
        [one] => Ok(one.clone()),
        _ => Err("one target at a time, by its name".to_string()),
    }
}

/// The two targets with the most figures that stand, and among those the steadiest: what it is compared with is best known.
fn beside(suite: &Suite, findings: &Findings) -> Vec<String> {
    let mut known: Vec<(usize, f64, &String)> = (suite.targets.iter())
        .map(|name| {
            let tables = findings
                .tables
                .iter()
                .filter(|table| table.quantity.kind() == Figure::Capacity);
            let labels: Vec<String> = suite
                .values_of(name)
                .into_iter()
                .map(|at| matrix::label(name, at))
                .collect();
            let rows = || {
                let rows = tables.clone().flat_map(|table| &table.targets);
                rows.filter(|row| labels.contains(&row.target))
            };
            let deviations: Vec<f64> = rows().filter_map(|row| row.residual_deviation).collect();
            let mean = deviations.iter().sum::<f64>() / count_f64(deviations.len().max(1) as u64);
            (rows().map(|row| row.rounds).sum(), mean, name)
        })
        .collect();
    known.retain(|(rounds, _, _)| *rounds > 0);
    known.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.total_cmp(&b.1)));
    known.into_iter().take(2).map(|(_, _, name)| name.clone()).collect()
}
