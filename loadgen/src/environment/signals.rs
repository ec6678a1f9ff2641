//! How the process was started: which signals its parent has told it to ignore.

use procfs::process::Process;

/// Whether a signal is ignored since the start, as SIGHUP is under `nohup`.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let ignored = Process::myself()
        .and_then(|own| own.status())
        .map_or(0, |status| status.sigign);
    u32::try_from(signal - 1).is_ok_and(|bit| ignored >> bit & 1 == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rust_ignores_is_seen_and_what_nobody_ignores_is_not() {
        // Every Rust program ignores SIGPIPE from its start.
        assert!(is_ignored(libc::SIGPIPE));
        assert!(!is_ignored(libc::SIGUSR2));
    }
}
