//! The generator tested against a server of known behaviour: each figure beside the one that a formula demands.
//!
//! - [`behaviour`]: what the truth server does, known to both ends
//! - [`truth_server`]: the server, started as a process of its own by `target`
//! - [`theory`], [`distribution`]: closed forms, the replay of a queue, distances; pure
//! - [`scorecard`]: what was expected and measured, and the verdict
//! - [`bench`](mod@bench): one run against one truth server, with a look at how quiet the machine was
//! - [`stall`] (AC1, AC2), [`queue`] (AC3 to AC5), [`schedule`] (AC6), [`kernel`] (AC7), [`histogram`] (AC8),
//!   [`faults`] (AC9): the tests
//! - [`suite`]: all of them, in order, again where the machine was not quiet

pub mod behaviour;
pub mod bench;
pub mod distribution;
pub mod faults;
pub mod histogram;
pub mod kernel;
pub mod queue;
pub mod schedule;
pub mod scorecard;
pub mod stall;
pub mod suite;
pub mod theory;
pub mod truth_server;
