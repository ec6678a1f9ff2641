//! One load generator for all servers.
//!
//! Flow, one way: `cmd -> plan -> compare -> {target, sampler, engine(workload, recorder)} -> measurement -> report`.
//!
//! - [`plan`]: what will be done, checked and complete
//! - [`workload`]: payload bytes, sizes, planned times, when to stop; pure
//! - [`engine`]: worker threads, event loop, connections; the only place that opens measuring sockets
//! - [`recorder`]: histograms, windows, counts; reads no clock
//! - [`target`]: finds, starts and stops servers; the only place that handles processes
//! - [`sampler`]: what the server and loadgen itself cost, from /proc and cgroups
//! - [`measurement`]: the record of a trial and where it is kept
//! - [`validity`]: may the figures be believed?
//! - [`compare`]: trials, rounds, statistics
//! - [`report`]: records in, text out

pub mod cli;
pub mod cmd;
pub mod compare;
pub mod engine;
pub mod failure;
pub mod interrupt;
pub mod measurement;
pub mod notice;
pub mod plan;
pub mod recorder;
pub mod report;
pub mod sampler;
pub mod target;
pub mod validity;
pub mod workload;
