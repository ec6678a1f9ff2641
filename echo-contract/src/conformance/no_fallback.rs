//! Rule 8: who says io_uring uses io_uring.
//!
//! That a denied io_uring ends in a named error and exit code 69 cannot be shown from outside on a system that
//! permits it; `event-servers/tests/backends/ring.rs` denies it to each ring server.

use super::fault::{Fault, PASSED, Verdict, ensure};
use super::server::Server;
use super::{Check, Setting};
use crate::catalog;
use std::fs;

pub(super) const CHECKS: &[Check] = &[Check {
    name: "a server that is to use io_uring holds a ring",
    setting: Setting::PROCESS,
    make: holds_a_ring,
}];

fn holds_a_ring(server: &mut Server) -> Verdict {
    let ready = server.ready()?;
    let promised = catalog::find(&ready.target).is_some_and(|target| target.io_interface.needs_ring());
    let told = ready.io_interface.needs_ring();
    if !promised && !told {
        return Err(Fault::NotChecked("not an io_uring target".into()));
    }
    ensure(told, || {
        format!(
            "the catalog promises io_uring, READY says {}: a fall-back",
            ready.io_interface
        )
    })?;
    let descriptors = fs::read_dir(format!("/proc/{}/fd", ready.pid))
        .map_err(|error| Fault::NotChecked(format!("the descriptors of {} cannot be read: {error}", ready.pid)))?;
    let holds_ring = descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|file| file.to_string_lossy().contains("[io_uring]"));
    ensure(holds_ring, || {
        "READY says io_uring, but the process holds no ring".into()
    })?;
    PASSED
}
