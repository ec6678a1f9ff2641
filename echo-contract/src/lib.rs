//! What both ends agree on: which targets exist, what a server prints, and how an echo server must behave.
//!
//! # The echo contract
//!
//! 1. **Bytes.** Every byte comes back, in order, none extra, at any split of reads and writes.
//! 2. **Half-close.** After the client's FIN the server sends all it still owes, then FIN; never a reset
//!    where a FIN is possible.
//! 3. **Isolation.** One connection's trouble (reset, stall, slow reader, one byte a second) changes
//!    nothing for another. Memory per connection is bounded by `--buffer-size`; a slow reader stops being read from.
//! 4. **Admission.** Accept errors are retried, backed off from, or end the server, by one policy for all
//!    (`server-kit/src/accept.rs`). `--max-connections` is exact and the refusal is a FIN in all servers.
//! 5. **Stop.** SIGTERM or SIGINT: each accepted client gets an exact prefix of its echo, then FIN. Exit 0, STATS
//!    printed, no zombies, no orphans; a second signal exits at once.
//! 6. **Exposure.** 127.0.0.1 by default; any other address needs `--bind` and prints a warning. TCP only.
//! 7. **Equal terms.** The same socket options everywhere, and READY says what the process really uses.
//! 8. **No silent fall-back.** io_uring not permitted is a named error and exit code 69, never an epoll run.
//!
//! [`conformance`] turns these into black-box checks. This crate uses the standard library, serde and serde_json and nothing
//! else: it opens plain sockets for the checks and starts no process (a [`conformance::Launcher`] does that).

#[cfg(not(target_os = "linux"))]
compile_error!(
    "Servers and loadgen run on Linux only. Elsewhere Docker does the whole job: docker compose run --rm loadgen compare"
);

pub mod catalog;
pub mod conformance;
pub mod ready;
pub mod splitmix;
pub mod stats;
