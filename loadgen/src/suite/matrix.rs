//! What a suite compares: targets x workloads, for how many rounds, and what all its plans share. Pure.

use super::dimension::Dimension;
use super::load::Load;
use super::need::LeftOut;
pub use super::plan_base::PlanBase;
use super::preset;
use super::regression;
use crate::record::{At, External, Plan, Workload};
use crate::workload::pool;
use echo_contract::catalog::{self, Selection, TARGETS};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::ops::Not;
use std::time::Duration;

/// A comparison, complete. It is stored beside its records, so that it can be continued and reported again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Suite {
    /// Of the suite that was asked for, or `custom` where targets or workloads were chosen.
    pub name: String,
    /// Names of the catalog or of `externals`, in the order of the tables.
    pub targets: Vec<String>,
    /// The targets that are not of the catalog.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub externals: Vec<External>,
    /// In the order of the tables.
    pub workloads: Vec<Workload>,
    /// What the targets are compared at several values of, beside each other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dimension: Option<Dimension>,
    /// How the loads of a suite are found that are shares of what each target can do; none where none are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// Workloads that were wanted and that this machine cannot have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
    /// Rounds at most.
    pub rounds_max: u32,
    /// No further round starts that would not end within this time.
    pub budget_ms: u64,
    /// Decides the order of every round, and the payload bytes.
    pub seed: u64,
    /// The target that runs a second time as standing A/A control; none switches the control off.
    pub control: Option<String>,
    /// Whether it does so in every block. In comparisons of before it visited one workload per round in turn.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub control_in_every_block: bool,
    /// Workloads under which each target's system calls are counted once, after round 1.
    #[serde(default)]
    pub counting: Vec<Workload>,
    /// Ends it after the first whole round in which every ratio of what servers cost is known within this share; none leaves
    /// that to rounds and budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// How much slower the second target may be than the first, as a share: its verdict holds for all workloads together, and so
    /// do all intervals then. None where nothing was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown_allowed: Option<f64>,
    /// Targets that came later, each in rounds of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub additions: Vec<Addition>,
    pub base: PlanBase,
}

/// A target that was added to a comparison: measured under its plan, beside targets that were there, so that what the machine
/// is like in its rounds falls out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Addition {
    pub target: String,
    /// Targets of the comparison that run in its blocks.
    pub beside: Vec<String>,
    /// Its rounds stand behind those that there were.
    pub first_round: u32,
    pub rounds: u32,
}

impl Addition {
    fn has_round(&self, round: u32) -> bool {
        (self.first_round..self.first_round.saturating_add(self.rounds)).contains(&round)
    }
}

/// A suite as stored in its folder: what to compare and how far it came. Written again after every trial.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SuiteFile {
    /// As in the records beside it.
    pub schema_version: String,
    /// The machine's label, e.g. `2cpu-linux-6.18`.
    pub label: String,
    /// Wall-clock time at the start, RFC 3339, UTC.
    pub started_at: String,
    /// loadgen's command line.
    pub command: Vec<String>,
    /// Time spent so far, all sittings together.
    pub spent_ms: u64,
    /// Why it ended: `rounds`, `budget`, `interrupted` ...; null while it runs or after a crash.
    pub ended: Option<String>,
    pub suite: Suite,
}

/// One trial that a round owes: a target under a workload, and at a value of the dimension where there is one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Pair {
    pub target: String,
    pub workload: String,
    /// Whether this is the second trial of a target that runs twice, the A/A control.
    pub control: bool,
    pub at: Option<At>,
}

impl Pair {
    /// The name in tables: with the value of the dimension; the control says that it is the same server again.
    #[must_use]
    pub fn label(&self) -> String {
        let mut label = label(&self.target, self.at);
        if self.control {
            label.push_str(" (again)");
        }
        label
    }
}

/// The name of a target at a value in tables: `event-epoll (2 workers)`.
#[must_use]
pub fn label(target: &str, at: Option<At>) -> String {
    match at {
        None => target.to_string(),
        Some(at) => format!("{target} ({at})"),
    }
}

impl Suite {
    /// SHA-256 of what is compared, in hex. What ends it is left out, since `--resume` may change that, and so are targets that
    /// came later: the trials of before are still of this plan. So are those of older comparisons, since a field that they did not
    /// have is left out while it is what it was for them.
    ///
    /// # Panics
    /// Never in practice: a suite is plain data.
    #[must_use]
    pub fn plan_hash(&self) -> String {
        let compared = Self {
            rounds_max: 0,
            budget_ms: 0,
            precision: None,
            slowdown_allowed: None,
            additions: Vec::new(),
            // What was found is no plan, and this machine's limits are none.
            load: self.load.as_ref().map(Load::as_planned),
            left_out: Vec::new(),
            ..self.clone()
        };
        let text = serde_json::to_string(&compared).expect("a suite is plain data");
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Of how many targets the pairs are that an interval holds for together; at each value a target counts as one.
    #[must_use]
    pub fn family(&self) -> usize {
        match self.slowdown_allowed {
            None => self.rows().count(),
            Some(_) => regression::family_over_workloads(self),
        }
    }

    /// Every target in the order of the tables, those that came later last.
    pub fn all_targets(&self) -> impl Iterator<Item = &String> {
        let added = self.additions.iter().map(|addition| &addition.target);
        self.targets.iter().chain(added)
    }

    /// The target that this round was added for; none in a round of all.
    #[must_use]
    pub fn addition_of(&self, round: u32) -> Option<&Addition> {
        self.additions.iter().find(|addition| addition.has_round(round))
    }

    /// Whether this is the first round of an added target.
    #[must_use]
    pub fn begins_addition(&self, round: u32) -> bool {
        self.additions.iter().any(|addition| addition.first_round == round)
    }

    /// Rounds of all targets, at most.
    #[must_use]
    pub fn whole_rounds_max(&self) -> u32 {
        let added = self.additions.iter().map(|addition| addition.rounds).sum();
        self.rounds_max.saturating_sub(added)
    }

    /// All trials of round `round` (from 1), in table order: each workload is one block of every target and the control.
    #[must_use]
    pub fn pairs_of_round(&self, round: u32) -> Vec<Pair> {
        if let Some(addition) = self.addition_of(round) {
            return self.pairs_of_addition(addition);
        }
        let turn = round.saturating_sub(1) as usize % self.workloads.len().max(1);
        let has_control = |place: usize| self.control_in_every_block || place == turn;
        (0..)
            .zip(&self.workloads)
            .filter(|(_, workload)| self.is_in_round(workload, round))
            .flat_map(|(place, workload)| {
                let again = self.control_of(&workload.name).filter(|_| has_control(place));
                let once = self.pairs_of(self.targets.iter(), &workload.name).into_iter();
                once.chain(again).filter(|pair| self.has_rate(pair))
            })
            .collect()
    }

    /// Every target under every workload once, whichever rounds they run in.
    pub(super) fn pairs_of_all(&self) -> Vec<Pair> {
        let of = |workload: &Workload| self.pairs_of(self.targets.iter(), &workload.name);
        self.workloads.iter().flat_map(of).collect()
    }

    fn pairs_of_addition(&self, addition: &Addition) -> Vec<Pair> {
        let targets = std::iter::once(&addition.target).chain(&addition.beside);
        let of = |workload: &Workload| self.pairs_of(targets.clone(), &workload.name);
        self.workloads.iter().flat_map(of).collect()
    }

    /// The counting trials of the suite: every target under every counting workload. They are part of no round's order.
    #[must_use]
    pub fn counting_pairs(&self) -> Vec<Pair> {
        let of_target = |target: &String| {
            self.counting.iter().map({
                let target = target.clone();
                move |workload| Pair {
                    target: target.clone(),
                    workload: workload.name.clone(),
                    control: false,
                    at: None,
                }
            })
        };
        self.all_targets().flat_map(of_target).collect()
    }

    /// Whether all records of a workload were measured in the suite's own way. An open loop's response time counts waiting
    /// that a closed loop never sees: in one table they would mislead, whatever the heading says.
    ///
    /// # Errors
    /// One sentence that names the workload.
    pub fn check_one_mode<'a>(&self, measured: impl IntoIterator<Item = &'a Workload>) -> Result<(), String> {
        let is_open = |workload: &Workload| workload.open_loop().is_some();
        for record in measured {
            let own = self.workload(&record.name);
            if own.is_some_and(|own| is_open(own) != is_open(record)) {
                return Err(format!(
                    "`{}` was measured as a closed loop and as an open loop: their times do not mean the same and may not \
                     share a table. Compare them in two runs",
                    record.name
                ));
            }
        }
        Ok(())
    }

    /// The plan of one trial. All targets of a round send the same bytes.
    ///
    /// # Panics
    /// When the pair is not of this suite.
    #[must_use]
    pub fn plan(&self, pair: &Pair, round: u32) -> Plan {
        let workload = self.workload(&pair.workload);
        let workload = workload.expect("a pair names a workload of its suite").clone();
        let mut workload = self.at_its_rate(pair, workload);
        let external = self.external(&pair.target).cloned();
        if let Some(external) = &external {
            workload.warmup_ms = external.warmup_ms_of(&workload);
        }
        Plan {
            target: pair.target.clone(),
            start: self.base.start,
            threads: self.base.threads,
            placement: self.base.placement.clone(),
            timeout_ms: self.base.timeout_ms,
            connect_timeout_ms: self.base.connect_timeout_ms,
            max_errors_percent: self.base.max_errors_percent,
            seed: self.seed.wrapping_add(u64::from(round)) % (Plan::MOST_SEED + 1),
            source_addresses: self.base.source_addresses.clone(),
            // A job that churns has a number of connections that was chosen: it runs once.
            repeat_for_ms: if workload.is_job() && !workload.churn {
                self.base.repeat_for_ms
            } else {
                0
            },
            connect_window: self.base.connect_window,
            connect_rate_per_s: self.base.connect_rate_per_s,
            looks_for_answers: self.base.looks_for_answers && !Plan::sleeps(&workload),
            workers: self.workers_of(pair),
            work_ns: self.work_ns_of(pair),
            counting: self.counting.iter().any(|counting| counting.name == pair.workload),
            start_at: None,
            network: (external.as_ref()).map_or(self.base.network, |server| server.network_of(self.base.network)),
            reach: self.base.reach,
            workload,
            external,
        }
    }

    /// The server of this name, where it is not one of the catalog.
    #[must_use]
    pub fn external(&self, target: &str) -> Option<&External> {
        self.externals.iter().find(|server| server.name == target)
    }

    /// A workload of the suite, timed or counting.
    #[must_use]
    pub fn workload(&self, name: &str) -> Option<&Workload> {
        let mut all = self.workloads.iter().chain(&self.counting);
        all.find(|workload| workload.name == name)
    }

    /// The workloads that are loads, with figures of their own: all but crashes.
    pub fn loads(&self) -> impl Iterator<Item = &Workload> + Clone {
        self.workloads.iter().filter(|workload| !workload.crash)
    }

    /// Whether the target can do the workload at all.
    #[must_use]
    pub fn is_measurable(&self, pair: &Pair) -> bool {
        self.workload(&pair.workload)
            .is_none_or(|workload| pool::too_small(&pair.target, workload.clients).is_none())
    }

    #[must_use]
    pub fn budget(&self) -> Duration {
        Duration::from_millis(self.budget_ms)
    }

    /// Time a trial should take before any has been timed: its phases plus start, connect, hold and stop.
    #[must_use]
    pub fn expected_duration(&self, pair: &Pair) -> Duration {
        if !self.is_measurable(pair) {
            return Duration::ZERO;
        }
        let around = Duration::from_millis(1200) + self.workload(&pair.workload).map_or(Duration::ZERO, comes_and_goes);
        self.workload(&pair.workload).map_or(around, |workload| {
            let once = workload.messages_planned().unwrap_or(0) * self.work_ns_of(pair).unwrap_or(0);
            let repeated = Duration::from_millis(self.base.repeat_for_ms).max(Duration::from_nanos(once));
            let measured = workload.duration().unwrap_or(repeated);
            around + Duration::from_millis(workload.warmup_ms) + measured
        })
    }
}

/// How much longer more than a thousand clients take to connect and to leave than a thousand do.
fn comes_and_goes(workload: &Workload) -> Duration {
    const EACH: Duration = Duration::from_micros(300);
    EACH * workload.clients.saturating_sub(1000)
}

/// The targets that `names` stand for: `default`, `all`, names of the catalog or of `externals`, and addresses, separated by commas.
///
/// # Errors
/// One sentence that names the wrong word and the right ones.
pub fn targets(names: &str, externals: &[External]) -> Result<Vec<String>, String> {
    let chosen = |keep: fn(&catalog::Target) -> bool| -> Vec<&str> {
        let kept = TARGETS.iter().filter(|target| keep(target));
        kept.map(|target| target.name).collect()
    };
    let names = names.split(',').flat_map(|word| match word.trim() {
        "default" => chosen(|target| target.selection == Selection::Default),
        "all" => chosen(|_| true),
        name => vec![name],
    });
    let names = names.collect::<Vec<_>>().join(",");
    let known = TARGETS.iter().map(|target| target.name);
    let known: Vec<&str> = known
        .chain(externals.iter().map(|server| server.name.as_str()))
        .collect();
    listed(
        "--targets",
        &names,
        |name| (known.contains(&name) || is_address(name)).then(|| name.to_string()),
        &known,
    )
}

/// Whether a target is measured by its address, `HOST:PORT`, and not started.
#[must_use]
pub fn is_address(target: &str) -> bool {
    target.contains(':')
}

/// The workloads that `names` stand for: `default`, or preset names separated by commas.
///
/// # Errors
/// One sentence that names the wrong word and the right ones.
pub fn workloads(names: &str) -> Result<Vec<Workload>, String> {
    let known: Vec<_> = preset::PRESETS.iter().map(|preset| preset.name).collect();
    let names = if names == "default" {
        preset::SUITE.join(",")
    } else {
        names.to_string()
    };
    listed(
        "--workloads",
        &names,
        |name| preset::find(name).map(preset::Preset::workload),
        &known,
    )
}

fn listed<T>(flag: &str, names: &str, find: impl Fn(&str) -> Option<T>, known: &[&str]) -> Result<Vec<T>, String> {
    let mut seen = Vec::new();
    names
        .split(',')
        .map(str::trim)
        .map(|name| {
            if seen.contains(&name) {
                return Err(format!("{flag} names `{name}` twice: name each one once"));
            }
            seen.push(name);
            find(name).ok_or_else(|| format!("{flag} does not know `{name}`: known are {}", known.join(", ")))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Arrivals, OpenLoop, Pacing, Waiting};
    use crate::suite::sample::suite;

    fn by_plan(workload: &Workload) -> Workload {
        Workload {
            pacing: Pacing::OpenLoop(OpenLoop {
                rate_per_s: 1000,
                arrivals: Arrivals::Constant,
                ramp_ms: 0,
                waiting: Waiting::Hybrid,
            }),
            ..workload.clone()
        }
    }

    #[test]
    fn open_and_closed_loops_never_share_a_table() {
        let suite = suite();
        assert_eq!(suite.check_one_mode(&suite.workloads), Ok(()));
        let open = by_plan(&suite.workloads[1]);
        assert!(
            suite
                .check_one_mode([&open])
                .unwrap_err()
                .contains("may not share a table")
        );
        // Workloads of both kinds have a table each.
        let both = Suite {
            workloads: vec![suite.workloads[0].clone(), open.clone()],
            ..suite
        };
        assert_eq!(both.check_one_mode([&open]), Ok(()));
    }

    #[test]
    fn a_round_is_one_block_for_each_workload_of_every_target_and_the_control() {
        let pairs = suite().pairs_of_round(1);
        let names: Vec<_> = pairs
            .iter()
            .map(|pair| format!("{} {}", pair.label(), pair.workload))
            .collect();
        assert_eq!(
            names,
            [
                "fork light",
                "thread light",
                "thread (again) light",
                "fork steady",
                "thread steady",
                "thread (again) steady"
            ]
        );
    }

    #[test]
    fn an_added_target_runs_in_rounds_of_its_own_and_the_plan_stays_the_same() {
        let before = suite();
        let after = Suite {
            rounds_max: 12,
            precision: Some(0.03),
            additions: vec![Addition {
                target: "event-epoll".into(),
                beside: vec!["thread".into(), "fork".into()],
                first_round: 11,
                rounds: 2,
            }],
            ..before.clone()
        };
        assert_eq!(after.plan_hash(), before.plan_hash());
        assert_eq!(after.pairs_of_round(10), before.pairs_of_round(10));
        let names = |round| -> Vec<String> {
            let pairs = after.pairs_of_round(round).into_iter();
            pairs
                .filter(|pair| pair.workload == "steady")
                .map(|pair| pair.label())
                .collect()
        };
        assert_eq!(names(11), ["event-epoll", "thread", "fork"]);
        assert_eq!(names(12), names(11));
        assert_eq!(names(13), ["fork", "thread", "thread (again)"]);
        assert_eq!(
            after.all_targets().collect::<Vec<_>>(),
            ["fork", "thread", "event-epoll"]
        );
        assert_eq!(after.whole_rounds_max(), 10);
    }

    #[test]
    fn the_control_of_an_older_comparison_visits_the_workloads_in_turn() {
        let older = Suite {
            control_in_every_block: false,
            ..suite()
        };
        let visited = |round| -> Vec<String> {
            let pairs = older.pairs_of_round(round).into_iter();
            pairs.filter(|pair| pair.control).map(|pair| pair.workload).collect()
        };
        assert_eq!([visited(1), visited(2), visited(3)], [["light"], ["steady"], ["light"]]);
    }

    #[test]
    fn all_targets_of_a_round_send_the_same_bytes_and_only_jobs_repeat() {
        let suite = suite();
        let pairs = suite.pairs_of_round(3);
        assert!(pairs.iter().all(|pair| suite.plan(pair, 3).seed == suite.seed + 3));
        assert_eq!(suite.plan(&pairs[0], 3).repeat_for_ms, 2000);
        assert_eq!(suite.plan(&pairs[3], 3).repeat_for_ms, 0);
    }

    #[test]
    fn unknown_and_doubled_names_are_refused_with_the_known_ones() {
        assert_eq!(targets("all", &[]).unwrap().len(), TARGETS.len());
        let beside = targets("default, event-mio", &[]).unwrap();
        assert_eq!(
            (beside.len(), beside.last().map(String::as_str)),
            (9, Some("event-mio"))
        );
        let unknown = targets("fork,forc", &[]).unwrap_err();
        assert!(
            unknown.contains("`forc`") && unknown.contains("fork, thread"),
            "{unknown}"
        );
        assert!(workloads("light,light").unwrap_err().contains("twice"));
        assert!(workloads("").unwrap_err().contains("light, medium"));
    }
}
