//! What a person watching sees while something is measured: on stderr, one line that is drawn over on a terminal.

pub mod compare;
pub mod run;
