//! What a server inherits: signals as a careless parent leaves them, a stderr that takes nothing.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigHandler, SigSet, Signal, signal};
use nix::unistd::alarm;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Write};

/// Blocks the signals that a server lives on, ignores its children's, and sets an alarm. For a child between fork and exec:
/// system calls only.
pub(crate) fn leave_signals_carelessly() -> io::Result<()> {
    let signals = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGALRM, Signal::SIGCHLD];
    signals.into_iter().collect::<SigSet>().thread_block()?;
    // SAFETY: no handler of ours runs.
    unsafe { signal(Signal::SIGCHLD, SigHandler::SigIgn) }?;
    alarm::set(1);
    Ok(())
}

/// A pipe that has room for not one byte.
pub(crate) fn full_pipe() -> io::Result<(PipeReader, PipeWriter)> {
    let (reader, mut writer) = io::pipe()?;
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    for bytes in [4096, 1] {
        while let Err(error) = fill(&mut writer, bytes) {
            if error.kind() != ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
    // Whoever writes now waits.
    fcntl(&writer, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok((reader, writer))
}

fn fill(writer: &mut PipeWriter, bytes: usize) -> io::Result<()> {
    loop {
        match writer.write(&vec![b'.'; bytes]) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}
