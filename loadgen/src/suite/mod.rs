//! What the records of many trials are and say together: which trials a comparison owes, in which order, and what their
//! figures show. Pure: reads no clock and no file, starts nothing, prints nothing.

pub mod alike;
pub mod compared;
pub mod conclusions;
pub mod contrast;
mod design;
pub mod diff;
pub mod dimension;
pub mod estimate;
pub mod findings;
pub mod fit;
pub mod full;
mod judged;
pub mod letters;
pub mod load;
pub mod matrix;
pub mod nearness;
pub mod need;
pub mod neighbour;
pub mod order;
pub mod plan_base;
pub mod precision;
pub mod preset;
pub mod regression;
pub mod reproduced;
pub mod results;
#[doc(hidden)]
pub mod sample;
pub mod search;
pub mod statistics;
pub mod studentised;
pub mod suites;
pub mod sweep;
mod tabulated;
pub mod together;
pub mod tracked;
