//! What all plans of a suite share.

use crate::record::{NetworkChoice, Placement, Plan, Reach, Start};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// The fields that all plans of a suite share.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlanBase {
    /// `always`, or `never` where servers that run already are compared.
    #[serde(default = "always")]
    pub start: Start,
    pub threads: u32,
    pub placement: Placement,
    pub timeout_ms: u64,
    pub connect_timeout_ms: u64,
    /// See [`Plan::max_errors_percent`]. Left out where it is the usual one, as in comparisons of before.
    #[serde(default = "usual_errors", skip_serializing_if = "is_usual")]
    pub max_errors_percent: f64,
    pub source_addresses: Vec<Ipv4Addr>,
    /// A job repeats on one server until this much time has been measured.
    pub repeat_for_ms: u64,
    pub connect_window: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_rate_per_s: Option<u64>,
    /// See [`Plan::looks_for_answers`]. In comparisons of before there was a choice: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub looks_for_answers: bool,
    /// In comparisons of before there was a choice: the host's.
    #[serde(default = "host", skip_serializing_if = "is_host")]
    pub network: NetworkChoice,
    /// `--workers` of every server that has workers; none leaves it to each.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// `--work` of every server of the catalog, in nanoseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_ns: Option<u64>,
    /// In comparisons of before there were addresses among the targets: left out.
    #[serde(default, skip_serializing_if = "is_as_before")]
    pub reach: Reach,
}

/// What suites were before they could say otherwise.
fn always() -> Start {
    Start::Always
}

fn host() -> NetworkChoice {
    NetworkChoice::Host
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_host(network: &NetworkChoice) -> bool {
    *network == host()
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_as_before(reach: &Reach) -> bool {
    *reach == Reach::default()
}

fn usual_errors() -> f64 {
    Plan::MAX_ERRORS_PERCENT
}

fn is_usual(max_errors_percent: &f64) -> bool {
    *max_errors_percent == Plan::MAX_ERRORS_PERCENT
}
