//! Whether servers can be started in network namespaces of their own, and the hidden verb `try-private-network` that finds out.

use super::build;
use crate::environment::network::{self, Private};
use crate::failure::Failure;
use std::process::{Command, Stdio};

/// The hidden verb that tries every step and says what came of it.
pub const TRY_VERB: &str = "try-private-network";

/// Makes `environment::network::enter_private` possible for this process, where it is permitted. Call it before the first
/// thread and only if servers will be started: an ordinary user's process is then in a user namespace, from where servers of
/// the same user that run outside cannot be looked into.
///
/// Every step is tried in a child first: a security module may allow the first and refuse the second, and from a user
/// namespace there is no way back.
///
/// # Errors
/// Why trials run on the host's network, as one sentence.
pub fn prepare_private() -> Result<(), String> {
    let loadgen = build::server_directory(true)
        .and_then(|directory| build::loadgen_executable(&directory))
        .map_err(|failure| failure.text)?;
    let tried = Command::new(loadgen)
        .arg(TRY_VERB)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("a network namespace cannot be tried: {error}"))?;
    if !tried.status.success() {
        let why = String::from_utf8_lossy(&tried.stderr);
        let why = why.trim().trim_start_matches("error: ");
        return Err(format!(
            "{why} (a private network needs root, or user namespaces for ordinary users)"
        ));
    }
    if network::may_enter() {
        return Ok(());
    }
    network::enter_user_namespace()
}

/// Enters a private network as a trial would; what was made.
///
/// # Errors
/// Why not.
pub fn try_private() -> Result<Private, Failure> {
    if !network::may_enter() {
        network::enter_user_namespace().map_err(Failure::unreachable)?;
    }
    network::enter_private().map_err(Failure::unreachable)
}
