//! Trials in rounds: what is compared, in which order, until when, and what the figures of all rounds together say.

mod assembly;
pub mod matrix;
pub mod order;
pub mod progress;
pub mod runner;
pub mod search;
pub mod statistics;
pub mod sweep;
pub mod trial;
