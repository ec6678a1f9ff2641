//! What clients do, as pure values: payload bytes, message sizes, planned times, presets. No clock, no socket, no file.

pub mod opening;
pub mod payload;
pub mod pool;
pub mod schedule;
