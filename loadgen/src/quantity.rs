//! Every measured quantity, one line each: its name, how it is read from a record, how the records of several generators
//! add up to it, and where it is shown. Rows, columns, CSV, charts and `merge` walk [`ALL`], so a new column is one line.
//! Pure: it knows records, and neither tables nor files.

use crate::record::{Figure as Kind, Histograms, Latency, LatencySet, Measurement};
use crate::text;
use crate::units::{count_f64, round_u64};

/// One measured quantity of a trial.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// As in CSV files, its unit last. Scripts rely on it.
    pub name: &'static str,
    /// Heading of its column; a line break where it may take two lines.
    pub heading: &'static str,
    pub unit: Unit,
    pub reading: Reading,
    pub whose: Whose,
    pub merge: Merge,
    pub better: Better,
    /// CSV files have it in any case.
    pub shown: &'static [Place],
}

/// Where a figure comes from.
#[derive(Clone, Copy, Debug)]
pub enum Reading {
    /// A field of the record.
    Field {
        get: fn(&Measurement) -> Option<f64>,
        set: fn(&mut Measurement, Option<f64>),
    },
    /// A point of a distribution: of several trials that of all their samples together, never an average.
    Point {
        clock: Clock,
        at: fn(&Latency) -> Option<f64>,
    },
}

/// The four times that are taken of messages and connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Response,
    Service,
    SendLag,
    Connect,
}

/// Whose figure it is. What belongs to the server counts once, however many generators saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Load,
    Server,
    Loadgen,
}

/// How the figures of several generators that pressed at the same time become one.
#[derive(Clone, Copy, Debug)]
pub enum Merge {
    Sum,
    /// The largest.
    Max,
    /// The largest where all pressed one server; the peaks of several need not fall together.
    Peak,
    /// Things per second: all of them over the time from the first beginning to the last end.
    Rate,
    /// A mean over time: weighted by each generator's time, over the whole.
    OverTime,
    /// A mean over things: weighted by how many each generator saw.
    Per(fn(&Measurement) -> u64),
    /// From the added histograms.
    Samples,
    /// Not known of several together.
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    More,
    Less,
    /// It explains, and is neither good nor bad.
    Neither,
}

/// How figures are printed in a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A rate, a ratio, microseconds under a heading that says so: three digits.
    Plain,
    /// How many of something.
    Whole,
    Percent,
    Bytes,
    /// Bytes per second.
    BytesRate,
    Ns,
}

/// A table or chart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Speed,
    Response,
    Cpu,
    Memory,
    /// Its smallest and largest figure beside it, wherever it is shown.
    Range,
    /// Smallest and largest beside the median in a suite's CSV file.
    Spread,
    /// The published table of runtimes.
    Runtimes,
    /// The curve of a sweep.
    Sweep,
    /// A chart of its own per workload.
    Chart,
}

/// Where a quantity is read: a field of the record, or a clock and a point of its distribution.
macro_rules! reading {
    ($clock:ident $point:ident) => {
        Reading::Point {
            clock: Clock::$clock,
            at: |latency| latency.$point.figure(),
        }
    };
    ($($field:ident).+) => {
        Reading::Field {
            get: |record| record.$($field).+.figure(),
            set: |record, figure| record.$($field).+.put(figure),
        }
    };
}

/// A constant for each line, and [`ALL`] of them in this order.
macro_rules! quantities {
    ($($id:ident: $name:literal $heading:literal, $unit:ident, ($($reading:tt)+), $whose:ident $merge:expr, $better:ident, [$($place:ident)*];)+) => {
        $(pub const $id: Quantity = Quantity {
            name: $name,
            heading: $heading,
            unit: Unit::$unit,
            reading: reading!($($reading)+),
            whose: Whose::$whose,
            merge: $merge,
            better: Better::$better,
            shown: &[$(Place::$place),*],
        };)+

        /// Every quantity, in the order of columns.
        pub const ALL: &[Quantity] = &[$($id),+];
    };
}

use Merge::{Max, OverTime, Peak, Per, Rate, Samples, Sum, Unknown};

quantities! {
    MESSAGES_PER_S: "messages_per_s" "messages/s", Plain, (throughput.messages_per_s), Load Rate, More, [Speed Range Spread Runtimes Sweep Chart];
    PLANNED_PER_S: "planned_per_s" "planned\n/s", Plain, (throughput.planned_per_s), Load Rate, Neither, [];
    CONNECTIONS_PER_S: "connections_per_s" "connections\n/s", Plain, (throughput.connections_per_s), Load Rate, More, [Speed Spread];
    BYTES_PER_S: "bytes_per_s" "bytes/s", BytesRate, (throughput.bytes_per_s), Load Rate, More, [Speed Spread];

    RESPONSE_SAMPLES: "response_samples" "response\nsamples", Whole, (Response count), Load Samples, Neither, [];
    RESPONSE_P50: "response_p50_ns" "response\np50", Ns, (Response p50), Load Samples, Less, [Response Runtimes];
    RESPONSE_P90: "response_p90_ns" "response\np90", Ns, (Response p90), Load Samples, Less, [];
    RESPONSE_P99: "response_p99_ns" "response\np99", Ns, (Response p99), Load Samples, Less, [Response Runtimes];
    RESPONSE_P999: "response_p999_ns" "response\np99.9", Ns, (Response p999), Load Samples, Less, [];
    RESPONSE_MAX: "response_max_ns" "response\nmax", Ns, (Response max), Load Samples, Less, [Response];
    CONNECT_SAMPLES: "connect_samples" "connect\nsamples", Whole, (Connect count), Load Samples, Neither, [];
    CONNECT_P50: "connect_p50_ns" "connect\np50", Ns, (Connect p50), Load Samples, Less, [Response];
    CONNECT_P90: "connect_p90_ns" "connect\np90", Ns, (Connect p90), Load Samples, Less, [];
    CONNECT_P99: "connect_p99_ns" "connect\np99", Ns, (Connect p99), Load Samples, Less, [Response];
    CONNECT_P999: "connect_p999_ns" "connect\np99.9", Ns, (Connect p999), Load Samples, Less, [];
    CONNECT_MAX: "connect_max_ns" "connect\nmax", Ns, (Connect max), Load Samples, Less, [];

    CPU_PERCENT: "cpu_percent_of_a_core" "CPU, % of\na core", Percent, (server_cost.cpu_percent), Server OverTime, Less, [Cpu];
    CPU_PERCENT_MAX: "cpu_percent_of_a_core_peak" "CPU\npeak", Percent, (server_cost.cpu_percent_max), Server Peak, Less, [Cpu];
    CPU_USER: "cpu_user_s" "CPU s,\nuser", Plain, (server_cost.cpu_user_s), Server Sum, Less, [];
    CPU_SYSTEM: "cpu_system_s" "CPU s,\nsystem", Plain, (server_cost.cpu_system_s), Server Sum, Less, [];
    CPU_PER_MESSAGE: "cpu_us_per_message" "CPU us per\nmessage", Plain, (server_cost.cpu_us_per_message), Server Per(Measurement::served), Less, [Cpu Runtimes];
    CPU_PER_CONNECTION: "cpu_us_per_connection" "CPU us per\nconnection", Plain, (server_cost.cpu_us_per_connection), Server Unknown, Less, [Cpu];
    SWITCHES_VOLUNTARY: "context_switches_voluntary" "switches,\nvoluntary", Whole, (server_cost.context_switches_voluntary), Server Sum, Less, [];
    SWITCHES_INVOLUNTARY: "context_switches_involuntary" "switches,\ninvoluntary", Whole, (server_cost.context_switches_involuntary), Server Sum, Less, [];
    SWITCHES_PER_MESSAGE: "context_switches_per_message" "switches per\nmessage", Plain, (server_cost.context_switches_per_message), Server Per(|record| record.totals.messages), Less, [Cpu Runtimes];
    MEMORY: "memory_peak_bytes" "peak memory,\nuser", Bytes, (server_cost.memory_peak_bytes), Server Sum, Less, [Memory Runtimes];
    MEMORY_BUFFERS: "memory_buffers_bytes" "of which\nbuffers", Bytes, (server_cost.memory_buffers_bytes), Server Sum, Less, [Memory Runtimes];
    MEMORY_KERNEL: "memory_kernel_bytes" "peak memory,\nkernel", Bytes, (server_cost.memory_kernel_bytes), Server Sum, Less, [Memory Runtimes];
    // Before the first client, and the growth that each of several generators saw, are not what one of them added.
    MEMORY_BEFORE: "memory_before_bytes" "memory\nbefore", Bytes, (server_cost.memory_before_bytes), Server Unknown, Less, [];
    MEMORY_PER_CONNECTION: "memory_per_connection_bytes" "memory per\nidle client", Bytes, (server_cost.memory_per_connection_bytes), Server Unknown, Less, [Memory Runtimes];
    MEMORY_KERNEL_PER_CONNECTION: "memory_kernel_per_connection_bytes" "of which in\nthe kernel", Bytes, (server_cost.memory_kernel_per_connection_bytes), Server Unknown, Less, [];
    PROCESSES: "processes" "processes", Whole, (server_cost.processes_max), Server Sum, Neither, [Memory];
    THREADS: "threads" "threads", Whole, (server_cost.threads_max), Server Sum, Neither, [Memory Runtimes];
    // Of counting trials only: tables show it by number of clients, in a column of its own.
    SYSCALLS_PER_MESSAGE: "syscalls_per_message" "system calls per\nmessage", Plain, (server_cost.syscalls_per_message), Server Unknown, Less, [];
    // Merged by its own formula, from the messages of each generator's clients.
    FAIRNESS: "fairness_jain" "fairness\n(Jain)", Plain, (fairness_jain), Load Unknown, More, [];

    BESIDE_MESSAGES_PER_S: "beside_messages_per_s" "beside them,\nmessages/s", Plain, (beside.messages_per_s), Load Unknown, Neither, [];
    BESIDE_BYTES_PER_S: "beside_bytes_per_s" "beside them,\nbytes/s", BytesRate, (beside.bytes_per_s), Load Unknown, Neither, [];
    CLIENTS_LOST: "clients_lost" "clients\nlost", Whole, (isolation.clients_lost), Server Unknown, Less, [];
    SERVED_AGAIN: "served_again_ns" "new client\nserved after", Ns, (isolation.served_again_ns), Server Unknown, Less, [];

    SERVICE_SAMPLES: "service_samples" "service\nsamples", Whole, (Service count), Load Samples, Neither, [];
    SERVICE_P50: "service_p50_ns" "service\np50", Ns, (Service p50), Load Samples, Less, [];
    SERVICE_P90: "service_p90_ns" "service\np90", Ns, (Service p90), Load Samples, Less, [];
    SERVICE_P99: "service_p99_ns" "service\np99", Ns, (Service p99), Load Samples, Less, [];
    SERVICE_P999: "service_p999_ns" "service\np99.9", Ns, (Service p999), Load Samples, Less, [];
    SERVICE_MAX: "service_max_ns" "service\nmax", Ns, (Service max), Load Samples, Less, [];
    SEND_LAG_SAMPLES: "send_lag_samples" "send lag\nsamples", Whole, (SendLag count), Load Samples, Neither, [];
    SEND_LAG_P50: "send_lag_p50_ns" "send lag\np50", Ns, (SendLag p50), Load Samples, Less, [];
    SEND_LAG_P90: "send_lag_p90_ns" "send lag\np90", Ns, (SendLag p90), Load Samples, Less, [];
    SEND_LAG_P99: "send_lag_p99_ns" "send lag\np99", Ns, (SendLag p99), Load Samples, Less, [];
    SEND_LAG_P999: "send_lag_p999_ns" "send lag\np99.9", Ns, (SendLag p999), Load Samples, Less, [];
    SEND_LAG_MAX: "send_lag_max_ns" "send lag\nmax", Ns, (SendLag max), Load Samples, Less, [];

    LOADGEN_THREADS: "loadgen_threads" "loadgen\nthreads", Whole, (loadgen_cost.threads), Loadgen Sum, Neither, [];
    LOADGEN_CPU: "loadgen_cpu_s" "loadgen\nCPU s", Plain, (loadgen_cost.cpu_s), Loadgen Sum, Less, [];
    LOADGEN_SPIN: "loadgen_cpu_spin_s" "loadgen\nspinning s", Plain, (loadgen_cost.cpu_spin_s), Loadgen Sum, Neither, [];
    LOADGEN_CPU_MAX: "loadgen_cpu_percent_max" "loadgen's\nbusiest", Percent, (loadgen_cost.cpu_percent_max), Loadgen Max, Less, [];
    LOADGEN_DELAY: "loadgen_run_queue_delay_percent_max" "loadgen\nwaited", Percent, (loadgen_cost.run_queue_delay_percent_max), Loadgen Max, Less, [];
    LOADGEN_SAMPLER: "loadgen_sampler_cpu_s" "sampler\nCPU s", Plain, (loadgen_cost.sampler_cpu_s), Loadgen Sum, Less, [];
    LOADGEN_MEMORY: "loadgen_memory_peak_bytes" "loadgen's\nmemory", Bytes, (loadgen_cost.memory_peak_bytes), Loadgen Sum, Less, [];
    FOREIGN_CPU: "foreign_cpu_percent_max" "other\nprograms", Percent, (loadgen_cost.foreign_cpu_percent_max), Loadgen Max, Less, [];
    LOADGEN_STOPPED: "loadgen_stopped_s" "loadgen\nstopped s", Plain, (loadgen_cost.stopped_s), Loadgen Max, Less, [];
    CPU_PRESSURE: "cpu_pressure_percent" "CPU\npressure", Percent, (loadgen_cost.cpu_pressure_percent), Loadgen Max, Less, [];
}

impl Quantity {
    /// The trial's figure; None where it could not be had, and for a point of a distribution that the trial's loop does
    /// not have.
    #[must_use]
    pub fn of(&self, record: &Measurement) -> Option<f64> {
        match self.reading {
            Reading::Field { get, .. } => get(record),
            Reading::Point { clock, at } if clock.is_kept_by(record) => at(clock.latency(&record.latency_ns)),
            Reading::Point { .. } => None,
        }
    }

    /// What kind of figure it is: a gate takes away all of a kind.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match (self.reading, self.whose, self.unit) {
            (Reading::Point { .. }, ..) => Kind::Percentiles,
            (_, Whose::Server, Unit::Bytes | Unit::Whole) => Kind::Memory,
            (_, Whose::Server, _) => Kind::Capacity,
            _ => Kind::Rates,
        }
    }

    /// As in a cell of a table, without its name.
    #[must_use]
    pub fn print(&self, figure: f64) -> String {
        match self.unit {
            Unit::Plain => text::figure(figure),
            Unit::Whole => text::count(round_u64(figure)),
            Unit::Percent => text::percent(figure),
            Unit::Bytes => text::bytes(round_u64(figure)),
            Unit::BytesRate => format!("{}/s", text::bytes(round_u64(figure))),
            Unit::Ns => text::time_ns(round_u64(figure)),
        }
    }

    /// The heading on one line.
    #[must_use]
    pub fn title(&self) -> String {
        self.heading.replace("\n/", "/").replace('\n', " ")
    }

    #[must_use]
    pub fn is_shown_in(&self, place: Place) -> bool {
        self.shown.contains(&place)
    }

    /// The figure of all generators together. `whole_s` is the time from the first beginning to the last end;
    /// `one_server` says that all pressed the same process. None where one of them does not know it.
    #[must_use]
    pub fn merged(&self, records: &[&Measurement], whole_s: f64, one_server: bool) -> Option<f64> {
        let duration = |record: &&Measurement| record.throughput.duration_s;
        let (weights, whole): (Vec<f64>, f64) = match self.merge {
            Sum | Max | Peak => (vec![1.0; records.len()], 1.0),
            Rate | OverTime => (records.iter().map(duration).collect(), whole_s),
            Per(count) => (
                records.iter().map(|record| count_f64(count(record))).collect(),
                count_f64(records.iter().map(|record| count(record)).sum()),
            ),
            Samples | Unknown => return None,
        };
        let amounts: Option<Vec<f64>> = (records.iter().zip(weights))
            .map(|(record, weight)| Some(self.of(record)? * weight))
            .collect();
        let amounts = amounts?.into_iter();
        let same_server = self.whose == Whose::Server && one_server;
        let total: f64 = match self.merge {
            Peak if !same_server => return None,
            // Things are whole, and so is their sum in any order.
            Rate => amounts.map(f64::round).sum(),
            Max | Peak => amounts.fold(f64::NEG_INFINITY, f64::max),
            _ if same_server => amounts.fold(f64::NEG_INFINITY, f64::max),
            _ => amounts.sum(),
        };
        (whole > 0.0).then(|| total / whole)
    }
}

impl Clock {
    pub const ALL: [Self; 4] = [Self::Response, Self::Service, Self::SendLag, Self::Connect];

    /// As the record's field.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Response => "response",
            Self::Service => "service",
            Self::SendLag => "send_lag",
            Self::Connect => "connect",
        }
    }

    #[must_use]
    pub const fn latency(self, set: &LatencySet) -> &Latency {
        match self {
            Self::Response => &set.response,
            Self::Service => &set.service,
            Self::SendLag => &set.send_lag,
            Self::Connect => &set.connect,
        }
    }

    /// As encoded in the record; None in a closed loop for service, which equals response, and send lag, which is 0.
    #[must_use]
    pub const fn histogram(self, histograms: &Histograms) -> Option<&String> {
        match self {
            Self::Response => histograms.response.as_ref(),
            Self::Service => histograms.service.as_ref(),
            Self::SendLag => histograms.send_lag.as_ref(),
            Self::Connect => histograms.connect.as_ref(),
        }
    }

    /// Service and send lag are told of open loops only, so that the modes share no column.
    fn is_kept_by(self, record: &Measurement) -> bool {
        let is_of_both = matches!(self, Self::Response | Self::Connect);
        is_of_both || record.plan.workload.open_loop().is_some()
    }
}

/// A number in a record, whatever its type.
trait Figure {
    fn figure(&self) -> Option<f64>;
    /// What is not known is 0 in a field that cannot say so.
    fn put(&mut self, figure: Option<f64>);
}

impl Figure for f64 {
    fn figure(&self) -> Option<f64> {
        Some(*self)
    }

    fn put(&mut self, figure: Option<f64>) {
        *self = figure.unwrap_or(0.0);
    }
}

impl Figure for u64 {
    fn figure(&self) -> Option<f64> {
        Some(count_f64(*self))
    }

    fn put(&mut self, figure: Option<f64>) {
        *self = figure.map_or(0, round_u64);
    }
}

impl Figure for u32 {
    fn figure(&self) -> Option<f64> {
        Some(f64::from(*self))
    }

    fn put(&mut self, figure: Option<f64>) {
        *self = figure.map_or(0, |figure| Self::try_from(round_u64(figure)).unwrap_or(Self::MAX));
    }
}

impl<T: Figure + Default> Figure for Option<T> {
    fn figure(&self) -> Option<f64> {
        self.as_ref().and_then(T::figure)
    }

    fn put(&mut self, figure: Option<f64>) {
        *self = figure.map(|figure| {
            let mut value = T::default();
            value.put(Some(figure));
            value
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_quantity_has_a_name_and_a_heading_of_its_own() {
        let names: BTreeSet<&str> = ALL.iter().map(|quantity| quantity.name).collect();
        let titles: BTreeSet<String> = ALL.iter().map(Quantity::title).collect();
        assert_eq!((names.len(), titles.len()), (ALL.len(), ALL.len()));
    }

    #[test]
    fn a_heading_takes_two_lines_at_most() {
        for quantity in ALL {
            assert!(quantity.heading.lines().count() <= 2, "{}", quantity.name);
        }
    }

    #[test]
    fn figures_are_printed_with_their_unit() {
        assert_eq!(MESSAGES_PER_S.print(12_345.6), "12,346");
        assert_eq!(BYTES_PER_S.print(8_700_000.0), "8.30 MiB/s");
        assert_eq!(RESPONSE_P99.print(1_834_000.0), "1.83 ms");
        assert_eq!(CPU_PERCENT.print(9.31), "9.3 %");
        assert_eq!(THREADS.print(1001.0), "1,001");
    }
}
