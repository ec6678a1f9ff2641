//! May the figures be believed?

pub mod gates;
pub mod invariants;
pub mod omission;
pub mod steady;
pub mod together;
