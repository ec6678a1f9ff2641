//! How many connections a comparison may open where the kernel tracks them. Each takes an entry of a table of limited size, a
//! closed one for two minutes more; when none is left, whoever comes next loses segments or is not answered. Pure.

use super::matrix::{Pair, Suite};
use crate::record::{Plan, Stop};
use crate::units::{count_f64, len_f64, round_u64};
use std::time::Duration;

/// How long a closed connection keeps its entry (net.netfilter.nf_conntrack_tcp_timeout_time_wait).
pub const REMEMBERED: Duration = Duration::from_secs(120);
/// No server here is faster than this: in connections a second, and in messages of a job, which connects too.
const CONNECTIONS_PER_S: u64 = 40_000;
const MESSAGES_PER_S: u64 = 70_000;
/// Of the room that there is, the rest is others'.
const SHARE: f64 = 0.9;
/// Fewer connections would measure the server's start, and more add little.
const CHURN: std::ops::RangeInclusive<u64> = 2_000..=20_000;

/// Connections that the trial opens at most.
#[must_use]
pub fn connections(plan: &Plan) -> u64 {
    let workload = &plan.workload;
    let clients = u64::from(workload.clients);
    match (workload.churn, workload.messages_planned()) {
        (true, Some(messages)) => clients + messages,
        (true, None) => {
            let ms = workload.warmup_ms + workload.duration().map_or(0, milliseconds);
            clients + CONNECTIONS_PER_S * ms / 1000
        }
        (false, Some(messages)) => {
            let repetitions = MESSAGES_PER_S * plan.repeat_for_ms / 1000 / messages.max(1);
            clients * (1 + repetitions)
        }
        (false, None) => clients,
    }
}

/// Ends every churning workload of the suite after the same number of connections for all targets, so that what two minutes of it
/// leave behind fits into `room`; that number, if there is such a workload.
pub fn fix_churn(suite: &mut Suite, room: u64) -> Option<u64> {
    let round = suite.pairs_of_round(1);
    let is_churn = |pair: &&Pair| suite.workload(&pair.workload).is_some_and(|workload| workload.churn);
    let churning = round.iter().filter(is_churn).count();
    if churning == 0 {
        return None;
    }
    let others = round.iter().filter(|pair| !is_churn(pair));
    let others: u64 = others.map(|pair| connections(&suite.plan(pair, 1))).sum();
    // A trial takes half of what is allowed for around it, as a rule.
    let each = |pair: &Pair| suite.expected_duration(pair).saturating_sub(Duration::from_millis(600));
    let round_s: f64 = round.iter().map(each).sum::<Duration>().as_secs_f64();
    let rounds = (REMEMBERED.as_secs_f64() / round_s.max(0.1)).clamp(1.0, f64::from(suite.rounds_max.max(1)));
    let free = count_f64(room) * SHARE - count_f64(others) * rounds;
    let fitting = round_u64((free / (len_f64(churning) * rounds)).max(0.0));
    let connections = fitting.clamp(*CHURN.start(), *CHURN.end()) / 100 * 100;
    for workload in suite.workloads.iter_mut().filter(|workload| workload.churn) {
        workload.stop = Stop::TotalMessages(connections);
        workload.warmup_ms = 0;
    }
    Some(connections)
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::matrix::{targets, workloads};
    use crate::suite::sample;

    fn default_suite() -> Suite {
        let mut suite = Suite {
            targets: targets("default", &[]).unwrap(),
            workloads: workloads("default").unwrap(),
            ..sample::suite()
        };
        suite.base.repeat_for_ms = 500;
        suite
    }

    #[test]
    fn churn_opens_as_many_connections_for_every_target_as_fit() {
        let mut suite = default_suite();
        let fixed = fix_churn(&mut suite, 262_144).unwrap();
        assert!(CHURN.contains(&fixed) && fixed.is_multiple_of(100), "{fixed}");
        let of_churn: Vec<Plan> = (suite.pairs_of_round(1).iter())
            .filter(|pair| pair.workload == "churn")
            .map(|pair| suite.plan(pair, 1))
            .collect();
        assert_eq!(of_churn.len(), 9);
        for plan in &of_churn {
            assert_eq!(plan.workload.messages_planned(), Some(fixed));
            assert_eq!(
                (plan.workload.warmup_ms, plan.repeat_for_ms),
                (0, 0),
                "once, and all of it counts"
            );
            assert_eq!(connections(plan), fixed + 100);
        }
        let round: u64 = suite
            .pairs_of_round(1)
            .iter()
            .map(|pair| connections(&suite.plan(pair, 1)))
            .sum();
        assert!(round < 262_144 * 9 / 10, "a round leaves {round} entries behind");
        let less = fix_churn(&mut default_suite(), 131_072).unwrap();
        assert!(less < fixed, "{less}");
    }

    #[test]
    fn a_suite_without_churn_stays_as_it_is() {
        let mut suite = sample::suite();
        assert_eq!(fix_churn(&mut suite, 1000), None);
        assert_eq!(suite, sample::suite());
    }

    #[test]
    fn what_a_trial_opens_at_most_is_known_before() {
        let suite = default_suite();
        let of = |workload: &str| {
            let pairs = suite.pairs_of_round(1);
            let pair = pairs.iter().find(|pair| pair.workload == workload).unwrap();
            connections(&suite.plan(pair, 1))
        };
        // 100 clients and 40,000 a second for 0.2 + 0.8 s; 0.5 s of at most 70,000 messages a second in jobs of 1,000.
        assert_eq!([of("churn"), of("steady"), of("light")], [40_100, 1000, 100 * 36]);
    }
}
