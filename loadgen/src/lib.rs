//! One load generator for all servers.
//!
//! Imports point one way, down this list; `tests/house.rs` holds it against ARCHITECTURE.md.
//!
//! - [`cmd`]: one verb, one file; what was typed becomes a plan, and what goes on is shown
//! - [`compare`]: trials and rounds: runs a suite and makes the records
//! - [`report`]: records and results in, text out
//! - [`calibration`]: the generator tested against a server of known behaviour
//! - [`engine`]: worker threads, event loop, connections; the only place that opens measuring sockets
//! - [`subject`]: finds, starts and stops servers; the only place that handles processes
//! - [`suite`]: what many records together say; pure
//! - [`validity`]: whether one record can be believed; pure
//! - [`environment`]: what the machine is
//! - [`sampler`]: what server, loadgen and machine cost, from /proc and cgroups
//! - [`measurement`]: where records are kept, and how those of several generators add up
//! - [`recorder`]: histograms, windows, counts; reads no clock
//! - [`workload`]: payload bytes, sizes, planned times; pure
//! - [`quantity`]: the table of measured quantities, which rows, columns, CSV, charts and merge walk
//! - [`record`]: the data
//! - [`text`], [`units`], [`failure`], [`notice`], [`interrupt`]: what everything may use

pub mod calibration;
pub mod cmd;
pub mod compare;
pub mod engine;
pub mod environment;
pub mod failure;
pub mod interrupt;
pub mod measurement;
pub mod notice;
pub mod quantity;
pub mod record;
pub mod recorder;
pub mod report;
pub mod sampler;
pub mod subject;
pub mod suite;
pub mod text;
pub mod units;
pub mod validity;
pub mod workload;
