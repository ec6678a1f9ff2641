//! What the original Python project reported for its two jobs: quoted, never recomputed, always labelled.

use crate::report::table::Grid;
use echo_contract::catalog::Model;

/// Stands wherever these figures do.
pub const LABEL: &str = "the original Python project, other hardware";

/// Its three servers, by the word for each.
pub const COLUMNS: [(Model, &str); 3] = [
    (Model::Fork, "forked"),
    (Model::Thread, "multithread"),
    (Model::Event, "event-driven"),
];

/// The server of `examples/servers.toml` that is of the kind of the original's: its figures are measured, not quoted.
#[must_use]
pub fn example(model: Model) -> &'static str {
    match model {
        Model::Fork => "python-fork",
        Model::Thread => "python-thread",
        Model::Event => "python-asyncio",
    }
}

/// One scenario of the original, columns forked, multithread, event-driven.
pub struct Scenario {
    /// Name of our workload with the same clients and messages.
    pub workload: &'static str,
    pub title: &'static str,
    pub rows: [Figures; 3],
}

/// One metric as it was printed.
pub struct Figures {
    pub metric: &'static str,
    pub forked: &'static str,
    pub multithread: &'static str,
    pub event_driven: &'static str,
}

impl Figures {
    #[must_use]
    pub fn of(&self, model: Model) -> &'static str {
        match model {
            Model::Fork => self.forked,
            Model::Thread => self.multithread,
            Model::Event => self.event_driven,
        }
    }
}

/// Both scenarios, small first.
pub const SCENARIOS: [Scenario; 2] = [
    Scenario {
        workload: "light",
        title: "light, 100 clients x 10 messages",
        rows: [
            figures("requests/s", "1553.50", "1693.69", "2778.06"),
            figures("max CPU", "~9 %", "~8 %", "~11 %"),
            figures("max memory", "~9 MiB", "~8 MiB (printed as -8)", "~10 MiB"),
        ],
    },
    Scenario {
        workload: "medium",
        title: "medium, 1000 clients x 10 messages",
        rows: [
            figures("requests/s", "~750", "~1250", "~2600"),
            figures("max CPU", "~85 %", "~70 %", "~45 %"),
            figures("max memory", "~90 MiB", "~30 MiB", "~18 MiB"),
        ],
    },
];

/// The scenario that matches a workload of this name.
#[must_use]
pub fn scenario(workload: &str) -> Option<&'static Scenario> {
    SCENARIOS.iter().find(|scenario| scenario.workload == workload)
}

/// The figures of one scenario, as it printed them.
#[must_use]
pub fn grid(scenario: &Scenario) -> Grid {
    let headings = std::iter::once("metric").chain(COLUMNS.map(|(_, word)| word));
    let rows = scenario.rows.iter().map(|row| {
        let figures = COLUMNS.map(|(model, _)| row.of(model).to_string());
        std::iter::once(row.metric.to_string()).chain(figures).collect()
    });
    Grid {
        headings: headings.map(str::to_string).collect(),
        rows: rows.collect(),
    }
}

const fn figures(
    metric: &'static str,
    forked: &'static str,
    multithread: &'static str,
    event_driven: &'static str,
) -> Figures {
    Figures {
        metric,
        forked,
        multithread,
        event_driven,
    }
}
