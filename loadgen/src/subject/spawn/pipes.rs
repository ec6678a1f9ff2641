//! What a server says on stdout and stderr.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::process::ChildStdout;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// A server prints less than this; of one that prints more the end is kept.
const KEPT_BYTES: usize = 256 << 10;

/// Lines of stdout as they come; closed at its end.
pub(super) fn read_lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let read = move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    };
    // Without a thread the channel closes and the start fails with "closed its stdout".
    let _ = thread::Builder::new().name("server-stdout".into()).spawn(read);
    lines
}

/// The last part of what was read from one or several pipes.
pub(super) type Kept = Arc<Mutex<VecDeque<u8>>>;

/// Reads a pipe to its end, so that the server never blocks on it, and keeps the last part.
pub(super) fn keep_end(mut pipe: impl Read + Send + 'static, kept: &Kept) {
    let end = Arc::clone(kept);
    let read = move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = pipe.read(&mut buffer) {
            let mut end = lock(&end);
            end.extend(&buffer[..length]);
            let surplus = end.len().saturating_sub(KEPT_BYTES);
            end.drain(..surplus);
        }
    };
    let _ = thread::Builder::new().name("server-output".into()).spawn(read);
}

pub(super) fn text_of(kept: &Mutex<VecDeque<u8>>) -> String {
    let bytes: Vec<u8> = lock(kept).iter().copied().collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// A lock whose holder panicked guards data that is whole all the same.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
