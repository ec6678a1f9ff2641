//! Obtains the server to be measured, started or attached to, and gives it back. The only place that starts or stops
//! processes; it opens sockets for the first echo only.

mod attach;
mod build;
mod container;
mod external;
mod fingerprint;
mod holder;
mod launch;
mod leftovers;
mod means;
mod network;
mod obtain;
mod owner;
mod payload;
mod probe;
mod resolve;
mod server;
mod spawn;
mod truth;
mod verify;

pub use build::server_directory;
pub use external::{keep_output, prepare as prepare_external, what_is_missing};
pub use fingerprint::sha256_of;
pub use holder::{is_held, running};
pub use launch::{LaunchArgs, launch_server};
pub use leftovers::{end_servers, remove_leftovers};
pub use means::Means;
pub use network::{TRY_VERB, prepare_private, try_private};
pub use obtain::{Request, obtain};
pub use owner::run_as_owner_of;
pub use payload::{file_of, read_payload};
pub use probe::Probes;
pub use resolve::{Resolved, is_localhost, resolve, spelled};
pub use server::{Server, Stopped};
pub use spawn::Usage;
pub use truth::{TRUTH_VERB, TruthServer};
pub use verify::Launcher;
