//! Trials in rounds: what is compared, in which order, until when, and what the figures of all rounds together say.

mod assembly;
mod cost;
mod isolation;
mod limiter;
mod memory;

mod pace;
mod request;
mod room;
pub mod runner;

pub mod sweep;
pub mod trial;
