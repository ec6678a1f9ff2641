//! The gates by which a trial is judged, and the figures that each of them takes away: METHODOLOGY, "What a gate takes away".

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a trial measures, as far as a gate can take it away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Figure {
    /// CPU time of the server per message and per connection.
    Capacity,
    /// Messages, bytes and connections per second.
    Rates,
    /// Percentiles of the response, service and connect times.
    Percentiles,
    /// Memory, processes and threads.
    Memory,
}

impl Figure {
    pub const ALL: [Self; 4] = [Self::Capacity, Self::Rates, Self::Percentiles, Self::Memory];

    /// As records have it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Capacity => "capacity",
            Self::Rates => "rates",
            Self::Percentiles => "percentiles",
            Self::Memory => "memory",
        }
    }
}

/// One gate. Stored by its name; a name that this version does not know is kept as it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Gate {
    Known(Name),
    Unknown(String),
}

macro_rules! gates {
    ($($name:ident $text:literal [$($void:ident)*],)+) => {
        /// Gates that this version knows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Name { $($name),+ }

        impl Name {
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// As records and METHODOLOGY have it.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }

            /// The figures that are void in a trial that does not pass it.
            #[must_use]
            pub fn voids(self) -> &'static [Figure] {
                match self { $(Self::$name => &[$(Figure::$void),*]),+ }
            }
        }
    };
}

gates! {
    Incomplete "incomplete" [Capacity Rates Percentiles Memory],
    NotMeasured "not_measured" [Capacity Rates Percentiles Memory],
    Connections "connections" [Capacity Rates Percentiles Memory],
    Errors "errors" [Capacity Rates Percentiles Memory],
    Payload "payload" [Capacity Rates Percentiles Memory],
    LocalFailures "local_failures" [Capacity Rates Percentiles Memory],
    Conservation "conservation" [Capacity Rates Percentiles Memory],
    PlanHash "plan_hash" [Capacity Rates Percentiles Memory],
    EnvironmentChanged "environment_changed" [Capacity Rates Percentiles Memory],
    NotCounted "not_counted" [Capacity Rates Percentiles Memory],
    LostGenerators "lost_generators" [Capacity Rates Percentiles Memory],
    Overlap "overlap" [Capacity Rates Percentiles Memory],
    ForeignLoad "foreign_load" [Rates Percentiles],
    SharedCpus "shared_cpus" [Rates Percentiles],
    RunQueueDelay "run_queue_delay" [Rates Percentiles],
    WindowGap "window_gap" [Rates Percentiles],
    Stopped "stopped" [Rates Percentiles],
    Throttled "throttled" [Rates Percentiles],
    Dropped "dropped" [Rates Percentiles],
    Headroom "headroom" [Rates Percentiles],
    MissedPlan "missed_plan" [Rates Percentiles],
    ListenOverflows "listen_overflows" [Rates Percentiles],
    Retransmits "retransmits" [Rates Percentiles],
    BacklogDrops "backlog_drops" [Rates Percentiles],
    SendLag "send_lag" [Percentiles],
    Arrivals "arrivals" [Percentiles],
    Hiccup "hiccup" [Percentiles],
    SteadyState "steady_state" [Capacity Rates Percentiles],
}

impl Gate {
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Known(name) => name.as_str(),
            Self::Unknown(name) => name,
        }
    }

    /// The figures that are void in a trial that does not pass it: all, where it is not known what it stood for.
    #[must_use]
    pub fn voids(&self) -> &'static [Figure] {
        match self {
            Self::Known(name) => name.voids(),
            Self::Unknown(_) => &Figure::ALL,
        }
    }
}

impl From<Name> for Gate {
    fn from(name: Name) -> Self {
        Self::Known(name)
    }
}

impl From<String> for Gate {
    fn from(text: String) -> Self {
        let known = Name::ALL.iter().find(|name| name.as_str() == text);
        known.map_or(Self::Unknown(text), |name| Self::Known(*name))
    }
}

impl From<&str> for Gate {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<Gate> for String {
    fn from(gate: Gate) -> Self {
        gate.as_str().to_owned()
    }
}

impl PartialEq<Name> for Gate {
    fn eq(&self, name: &Name) -> bool {
        *self == Self::Known(*name)
    }
}

impl PartialEq<str> for Gate {
    fn eq(&self, text: &str) -> bool {
        self.as_str() == text
    }
}

impl PartialEq<&str> for Gate {
    fn eq(&self, text: &&str) -> bool {
        self.as_str() == *text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_is_stored_by_its_name_and_an_unknown_one_is_kept() {
        for text in ["foreign_load", "a_gate_of_tomorrow"] {
            let gate: Gate = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(serde_json::to_string(&gate).unwrap(), format!("\"{text}\""));
        }
        assert_eq!(Gate::from("foreign_load"), Name::ForeignLoad);
        assert_eq!(Gate::from("a_gate_of_tomorrow").voids(), Figure::ALL);
    }

    #[test]
    fn the_table_of_the_methodology_is_what_gates_void() {
        let methodology = include_str!("../../../METHODOLOGY.md");
        let table = methodology.split("What a gate takes away").nth(1).expect("the table");
        for line in table.lines().filter(|line| line.starts_with("| `")) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
            for gate in cells[0].split('`').skip(1).step_by(2) {
                let name = Name::ALL.iter().find(|name| name.as_str() == gate);
                let name = name.unwrap_or_else(|| panic!("METHODOLOGY names a gate `{gate}` that there is not"));
                for (figure, cell) in Figure::ALL.iter().zip(&cells[1..]) {
                    let is_void = name.voids().contains(figure);
                    assert_eq!(*cell, if is_void { "void" } else { "stands" }, "{gate}, {figure:?}");
                }
            }
        }
        for name in Name::ALL {
            assert!(
                table.contains(&format!("`{}`", name.as_str())),
                "METHODOLOGY lacks `{}`",
                name.as_str()
            );
        }
    }
}
