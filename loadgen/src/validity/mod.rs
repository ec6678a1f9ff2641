//! May the figures be believed?

pub mod accuracy;
pub mod environment;
pub mod gates;
pub mod invariants;
pub mod omission;
pub mod steady;
