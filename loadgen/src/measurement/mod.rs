//! The versioned record of a trial, where records are kept, and how those of several generators add up.

pub mod destination;
pub mod half_written;
pub mod lines;
pub mod merge;
pub mod store;
pub mod whole;
