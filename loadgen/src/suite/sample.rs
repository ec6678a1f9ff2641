//! A small suite for tests, so that a field that is new in a plan is filled in one place.

use super::matrix::{PlanBase, Suite, workloads};
use crate::record::{Placement, Plan, Start};

/// Two targets under a job and a timed workload, ten rounds.
///
/// # Panics
/// Never: its workloads are presets.
#[must_use]
pub fn suite() -> Suite {
    Suite {
        externals: Vec::new(),
        name: "default".into(),
        targets: vec!["fork".into(), "thread".into()],
        workloads: workloads("light,steady").expect("presets"),
        dimension: None,
        load: None,
        left_out: vec![],
        rounds_max: 10,
        budget_ms: 420_000,
        seed: 20_260_131,
        control: Some("thread".into()),
        control_in_every_block: true,
        counting: vec![],
        precision: None,
        slowdown_allowed: None,
        additions: vec![],
        base: PlanBase {
            start: Start::Always,
            threads: 1,
            placement: placement(),
            timeout_ms: 10_000,
            connect_timeout_ms: 3000,
            max_errors_percent: Plan::MAX_ERRORS_PERCENT,
            source_addresses: vec![],
            repeat_for_ms: 2000,
            connect_window: 512,
            connect_rate_per_s: None,
            looks_for_answers: true,
            network: crate::record::NetworkChoice::Auto,
            workers: None,
            work_ns: None,
            reach: crate::record::Reach::default(),
        },
    }
}

/// Two CPUs, one for each side.
#[must_use]
pub fn placement() -> Placement {
    Placement {
        asked: "auto".into(),
        server_cpus: vec![0],
        loadgen_cpus: vec![1],
        shared: false,
    }
}
