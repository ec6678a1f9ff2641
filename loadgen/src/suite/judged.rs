//! What is judged of a workload's trials. Pure.

use crate::record::{Figure, Measurement, Workload};
use crate::units::count_f64;
use serde::{Deserialize, Serialize};

/// What is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judged {
    /// Messages per CPU second of the server: 1,000,000 / (CPU us per message).
    Capacity,
    MessagesPerS,
    /// At the rate of the plan: microseconds of the server's CPU.
    CpuUsPerMessage,
    /// Of each round, in nanoseconds.
    ResponseP50Ns,
    ResponseP99Ns,
}

impl Judged {
    /// What is judged under a workload. A closed loop's times are the number of clients over the rate, and an open loop's
    /// rate is the plan's: neither is judged.
    pub(super) fn of(workload: &Workload) -> &'static [Self] {
        if workload.crash {
            &[]
        } else if workload.beside.is_some() {
            // The server's cost is that of the others too.
            &[Self::ResponseP50Ns, Self::ResponseP99Ns]
        } else if workload.open_loop().is_some() {
            &[Self::CpuUsPerMessage, Self::ResponseP50Ns, Self::ResponseP99Ns]
        } else {
            &[Self::Capacity, Self::MessagesPerS]
        }
    }

    /// The name in text.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::MessagesPerS => "messages/s",
            Self::CpuUsPerMessage => "CPU us per message",
            Self::ResponseP50Ns => "response p50",
            Self::ResponseP99Ns => "response p99",
        }
    }

    #[must_use]
    pub fn more_is_better(self) -> bool {
        matches!(self, Self::Capacity | Self::MessagesPerS)
    }

    /// Which gates can take it away.
    #[must_use]
    pub fn kind(self) -> Figure {
        match self {
            Self::Capacity | Self::CpuUsPerMessage => Figure::Capacity,
            Self::MessagesPerS => Figure::Rates,
            Self::ResponseP50Ns | Self::ResponseP99Ns => Figure::Percentiles,
        }
    }

    /// The trial's figure, whether it stands or not.
    #[must_use]
    pub fn read(self, trial: &Measurement) -> Option<f64> {
        let cpu_us = trial.server_cost.cpu_us_per_message;
        let response = &trial.latency_ns.response;
        let figure = match self {
            Self::Capacity => cpu_us.map(|us| 1e6 / us),
            Self::MessagesPerS => Some(trial.throughput.messages_per_s),
            Self::CpuUsPerMessage => cpu_us,
            Self::ResponseP50Ns => response.p50.map(count_f64),
            Self::ResponseP99Ns => response.p99.map(count_f64),
        };
        figure.filter(|figure| figure.is_finite() && *figure > 0.0)
    }
}
