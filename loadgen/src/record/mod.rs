//! The data that everything else is about: what is to be done ([`Plan`], [`Workload`]), what was measured
//! ([`Measurement`] and its parts), and what the machine offers ([`Machine`]). Nothing here does anything.

mod external;
mod faults;
mod gate;
mod incomplete;
mod machine;
mod measurement;
mod plan;

pub use external::{External, ExternalModel, Placeholders, Tool};
pub use faults::{FAULTS_VERSION, FaultMatrix, FaultRow, FaultedTarget, RowResult};
pub use gate::{Figure, Gate, Name as GateName};
pub use incomplete::Incomplete;
pub use machine::Machine;
pub use measurement::*;
pub use plan::*;
