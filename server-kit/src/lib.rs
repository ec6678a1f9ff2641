//! What all echo servers share, so that only the concurrency model differs: flags, sockets, signals, limits,
//! admission, counting, closing, and the two lines on stdout.
//!
//! A server is [`serve`] with a `run` of its own:
//!
//! 1. `server.bind_shared()` or, for each worker, `server.bind_per_worker()` makes the listener, `server.ready()` prints READY.
//! 2. Each accepted stream goes to `server.admit(&stream)`; each failed accept to `server.accept_failed(&error)`.
//! 3. Each connection is `while !connection.stopping() { read; received; write_all; sent }`, then `finish`.
//! 4. After [`AcceptAction::Stop`], `server.idle()` or `server.wait_idle()`, then return.
//!
//! No backend has signal, socket-option, flag or timer code. The kit never starts a thread, and chooses no concurrency for
//! anyone.

mod accept;
mod accept_lock;
mod admission;
mod backoff;
pub mod blocking;
mod children;
mod cli;
mod connection;
mod counters;
mod fork;
mod healthcheck;
mod limits;
mod linger;
mod listening;
mod notice;
mod panics;
pub mod passing;
mod registry;
#[cfg(feature = "ring")]
pub mod ring;
mod seats;
mod server;
mod shared;
mod signal;
mod socket;
mod state;
mod timer;
mod turn;
mod unavailable;
mod version;
mod workers;

pub use echo_contract::ready::BufferPolicy;

pub use crate::{
    accept::AcceptAction,
    accept_lock::AcceptLock,
    admission::{ChildSeat, Slot},
    children::{Children, Ended},
    connection::Connection,
    fork::ClientChild,
    server::{Server, ServerIdentity, serve, serve_with_workers_in},
    socket::adopt,
    turn::Turn,
    unavailable::Unavailable,
    version::locked_version,
};
