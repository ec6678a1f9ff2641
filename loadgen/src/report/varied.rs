//! Suites that vary one thing from workload to workload: clients, connections, or the load that is offered. What was measured over it,
//! as tables and sentences; [`super::chart`] draws it. Nothing where fewer than three values were measured.

use crate::quantity::{CPU_PER_MESSAGE, MEMORY, MEMORY_KERNEL, MESSAGES_PER_S, PLANNED_PER_S};
use crate::record::{Latency, Workload};
use crate::report::columns::nothing;
use crate::report::table::{Column, Grid, Group, fitted};
use crate::report::terminal::wrapped;
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, Row};
use crate::text::{bytes, count, counted, figure, time_ns};
use crate::units::{count_f64, round_u64};

/// Values that make a curve.
const AT_LEAST: usize = 3;

/// What is varied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Along {
    /// Clients of a closed loop, all of which send.
    Clients,
    /// Connections under the same rate, sent by few of them or by all.
    Connections,
    /// Shares of what each target reached saturated, in percent.
    Load,
    /// The same rates for every target.
    Rate,
}

/// What was measured: the rows of each target, by what was varied.
pub struct Varied<'a> {
    pub along: Along,
    /// In the order of the tables; one without rows was not measured.
    pub targets: Vec<(&'a str, Vec<(f64, &'a Row)>)>,
}

/// A figure over what was varied.
pub struct Told {
    /// As a heading, with its unit where the figures have none.
    pub name: &'static str,
    pub read: fn(&Row) -> Option<f64>,
    pub print: fn(f64) -> String,
}

pub const MESSAGES: Told = Told {
    name: "messages/s",
    read: |row| row.figure(&MESSAGES_PER_S),
    print: |value| MESSAGES_PER_S.print(value),
};
pub const CPU: Told = Told {
    name: "CPU us per message",
    read: |row| row.figure(&CPU_PER_MESSAGE),
    print: |value| CPU_PER_MESSAGE.print(value),
};
/// What the process tree and the kernel hold together, all clients connected.
pub const WHOLE_MEMORY: Told = Told {
    name: "memory, user and kernel",
    read: |row| Some(row.figure(&MEMORY)? + row.figure(&MEMORY_KERNEL)?),
    print: |value| bytes(round_u64(value)),
};
pub const P50: Told = Told {
    name: "response p50",
    read: |row| of_response(row, |response| response.p50),
    print: |ns| time_ns(round_u64(ns)),
};
pub const P99: Told = Told {
    name: "response p99",
    read: |row| of_response(row, |response| response.p99),
    print: |ns| time_ns(round_u64(ns)),
};
const PLANNED: Told = Told {
    name: "planned messages/s",
    read: |row| row.figure(&PLANNED_PER_S),
    print: |value| PLANNED_PER_S.print(value),
};

fn of_response(row: &Row, read: fn(&Latency) -> Option<u64>) -> Option<f64> {
    read(&row.latency.response).map(count_f64)
}

impl Along {
    const ALL: [Self; 4] = [Self::Clients, Self::Connections, Self::Load, Self::Rate];

    /// `Over clients`.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Clients => "Over clients",
            Self::Connections => "Over connections",
            Self::Load => "Over offered load",
            Self::Rate => "Over the rate",
        }
    }

    /// Of an axis, with its unit.
    #[must_use]
    pub fn axis(self) -> &'static str {
        match self {
            Self::Clients => "clients",
            Self::Connections => "connections",
            Self::Load => "offered load, % of what the target reached saturated",
            Self::Rate => "planned messages per second",
        }
    }

    /// A value of it: `1,000`, `80 %`.
    #[must_use]
    pub fn print(self, value: f64) -> String {
        match self {
            Self::Load => format!("{} %", count(round_u64(value))),
            Self::Clients | Self::Connections => count(round_u64(value)),
            Self::Rate => figure(value),
        }
    }

    /// What is told over it, the most telling first.
    #[must_use]
    pub fn told(self) -> Vec<Told> {
        match self {
            Self::Clients => vec![MESSAGES, CPU, WHOLE_MEMORY],
            Self::Connections => vec![WHOLE_MEMORY, P50, P99, CPU],
            Self::Load => vec![P50, P99, PLANNED, CPU],
            Self::Rate => vec![P50, P99, CPU],
        }
    }

    /// The value of a workload; none where it is of another kind.
    fn of(self, workload: &Workload) -> Option<f64> {
        if workload.is_job() || workload.churn {
            return None;
        }
        let clients = f64::from(workload.clients);
        let share = workload.percent_of_saturated;
        match (self, workload.open_loop(), share) {
            (Self::Clients, None, _) | (Self::Connections, Some(_), None) => Some(clients),
            (Self::Load, Some(_), Some(percent)) => Some(f64::from(percent)),
            (Self::Rate, Some(open), None) => Some(count_f64(open.rate_per_s)),
            _ => None,
        }
    }

    /// Whether two workloads differ in this alone.
    fn are_alike(self, one: &Workload, other: &Workload) -> bool {
        let rate = |workload: &Workload| workload.open_loop().map(|open| open.rate_per_s);
        let sent = |workload: &Workload| (workload.size_min_bytes, workload.size_max_bytes, workload.pipeline);
        let rest = match self {
            Self::Clients => true,
            Self::Connections => rate(one) == rate(other),
            Self::Load | Self::Rate => one.clients == other.clients && one.active_clients == other.active_clients,
        };
        rest && sent(one) == sent(other)
    }
}

/// All that the suite varies.
#[must_use]
pub fn all<'a>(file: &'a SuiteFile, results: &'a Results) -> Vec<Varied<'a>> {
    let of = |along: Along| varied(file, results, along);
    Along::ALL.into_iter().filter_map(of).collect()
}

fn varied<'a>(file: &'a SuiteFile, results: &'a Results, along: Along) -> Option<Varied<'a>> {
    let fitting = file.suite.workloads.iter();
    let fitting = fitting.filter_map(|workload| Some((along.of(workload)?, workload)));
    let fitting: Vec<(f64, &'a Workload)> = fitting.collect();
    let (_, first) = *fitting.first()?;
    let of_target = |target: &'a String| {
        let of = |(value, workload): &(f64, &'a Workload)| {
            let mut rows = results.of_workload(&workload.name);
            let row = rows.find(|row| row.name == *target && !row.control)?;
            Some((*value, row))
        };
        let alike = fitting.iter().filter(|(_, workload)| along.are_alike(workload, first));
        let mut rows: Vec<(f64, &Row)> = alike.filter_map(of).collect();
        rows.sort_by(|one, other| one.0.total_cmp(&other.0));
        rows.dedup_by(|one, other| one.0 == other.0);
        (target.as_str(), rows)
    };
    let targets: Vec<_> = file.suite.all_targets().map(of_target).collect();
    let is_curve = targets.iter().any(|(_, rows)| rows.len() >= AT_LEAST);
    is_curve.then_some(Varied { along, targets })
}

impl Varied<'_> {
    /// What was varied, ascending, of all targets together.
    fn values(&self) -> Vec<f64> {
        let rows = self.targets.iter().flat_map(|(_, rows)| rows);
        let mut values: Vec<f64> = rows.map(|(value, _)| *value).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        values
    }

    /// Heading and one cell for each target.
    fn columns(&self, told: &Told) -> Vec<Column> {
        let cell = |rows: &[(f64, &Row)], value: f64| {
            let row = rows.iter().find(|(at, _)| *at == value).map(|(_, row)| *row);
            let shown = row.and_then(|row| Some((row, (told.read)(row)?)));
            shown.map_or_else(nothing, |(row, figure)| {
                let mark = if row.believed { "" } else { " (invalid)" };
                format!("{}{mark}", (told.print)(figure))
            })
        };
        let column = |value: f64| Column {
            heading: self.along.print(value),
            cells: self.targets.iter().map(|(_, rows)| cell(rows, value)).collect(),
        };
        self.values().into_iter().map(column).collect()
    }

    /// Title and table of each figure, targets down and what was varied across.
    #[must_use]
    pub fn tables(&self) -> Vec<(String, Grid)> {
        let of = |told: Told| {
            let columns = self.columns(&told);
            let headings = columns.iter().map(|column| column.heading.clone());
            let rows = self.targets.iter().enumerate().map(|(place, (target, _))| {
                let cells = columns.iter().map(|column| column.cells[place].clone());
                std::iter::once((*target).to_string()).chain(cells).collect()
            });
            let grid = Grid {
                headings: std::iter::once("target".to_string()).chain(headings).collect(),
                rows: rows.collect(),
            };
            (format!("{} over {}", told.name, self.along.axis()), grid)
        };
        self.along.told().into_iter().map(of).collect()
    }

    /// What was found, in words.
    #[must_use]
    pub fn sentences(&self, file: &SuiteFile) -> Vec<String> {
        match self.along {
            Along::Clients => self.most().into_iter().collect(),
            Along::Connections => Vec::new(),
            Along::Load => self.saturated(file).into_iter().chain(self.knees()).collect(),
            Along::Rate => self.knees().into_iter().collect(),
        }
    }

    /// With how many clients each target answers most.
    fn most(&self) -> Option<String> {
        let of = |(target, rows): &(&str, Vec<(f64, &Row)>)| {
            let known = rows
                .iter()
                .filter_map(|(clients, row)| Some((*clients, (MESSAGES.read)(row)?)));
            let (clients, most) = known.max_by(|one, other| one.1.total_cmp(&other.1))?;
            let clients = counted(round_u64(clients), "client", "clients");
            Some(format!("{target} {} with {clients}", (MESSAGES.print)(most)))
        };
        let all: Vec<String> = self.targets.iter().filter_map(of).collect();
        (!all.is_empty()).then(|| format!("most messages/s: {}", all.join(", ")))
    }

    /// What the loads are shares of.
    fn saturated(&self, file: &SuiteFile) -> Vec<String> {
        let Some(load) = &file.suite.load else {
            return Vec::new();
        };
        if load.saturated_per_s.is_empty() {
            return vec!["what the targets reach saturated is not known yet, so no load was offered".to_string()];
        }
        let known = |target: &&str| load.saturated_per_s.get(*target);
        let names = || self.targets.iter().map(|(target, _)| *target);
        let told: Vec<String> = names()
            .filter_map(|target| Some(format!("{target} {}", count(*known(&target)?))))
            .collect();
        let mut sentences = vec![format!("saturated, messages/s: {}", told.join(", "))];
        let without: Vec<&str> = names().filter(|target| known(target).is_none()).collect();
        if !without.is_empty() {
            sentences.push(format!(
                "could not be saturated, so that no load was offered: {}",
                without.join(", ")
            ));
        }
        sentences
    }

    /// Where the curve of each target turns.
    fn knees(&self) -> Option<String> {
        let of = |(target, rows): &(&str, Vec<(f64, &Row)>)| {
            Some(match knee(rows)? {
                Knee::At(value) => format!("{target} {}", self.along.print(value)),
                Knee::NoneUpTo(value) => format!("{target} none up to {}", self.along.print(value)),
            })
        };
        let all: Vec<String> = self.targets.iter().filter_map(of).collect();
        (!all.is_empty()).then(|| {
            format!(
                "knee, the highest load before the median response is twice that of the lowest: {}",
                all.join(", ")
            )
        })
    }
}

/// Where the response begins to grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Knee {
    /// The highest value before the median is twice that of the lowest.
    At(f64),
    /// The highest value with a median that stands, and it is not twice that.
    NoneUpTo(f64),
}

/// The knee of one target; none where fewer than two medians stand. A value without one says nothing.
#[must_use]
pub fn knee(rows: &[(f64, &Row)]) -> Option<Knee> {
    let known = rows
        .iter()
        .filter_map(|(value, row)| Some((*value, row.latency.response.p50?)));
    let known: Vec<(f64, u64)> = known.collect();
    let ([(_, base), ..], [.., (last, _)]) = (&known[..], &known[..]) else {
        return None;
    };
    let turn = known.iter().position(|(_, median)| *median >= 2 * base);
    match turn {
        Some(turn) => Some(Knee::At(known.get(turn.checked_sub(1)?)?.0)),
        None if known.len() > 1 => Some(Knee::NoneUpTo(*last)),
        None => None,
    }
}

/// All tables for a terminal, and as many as fit into `lines`, but one at least.
#[must_use]
pub fn drawn(all: &[Varied<'_>], width: u16, lines: usize) -> String {
    let mut text = String::new();
    let mut left_out = Vec::new();
    for varied in all {
        let names: Vec<String> = varied.targets.iter().map(|(target, _)| (*target).to_string()).collect();
        for told in varied.along.told() {
            let group = Group {
                name: String::new(),
                columns: varied.columns(&told),
            };
            let title = format!("{} over {}", told.name, varied.along.axis());
            let table = format!(
                "{}{}\n",
                wrapped(&title, 2, 4, width),
                fitted(&names, vec![group], width).join("\n\n")
            );
            if !text.is_empty() && text.lines().count() + table.lines().count() + 2 > lines {
                left_out.push(title);
                continue;
            }
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(&table);
        }
    }
    if !left_out.is_empty() {
        let told = format!("in the folder, for they do not fit here: {}", left_out.join("; "));
        text.push_str(&wrapped(&told, 2, 4, width));
    }
    text
}
