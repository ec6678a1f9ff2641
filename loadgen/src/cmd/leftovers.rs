//! What a loadgen that was killed has left behind is removed before the next one measures, and said in one line.

use crate::notice::notice;
use crate::subject;
use crate::text::counted;

/// Removes servers and control groups of dead loadgens, and what `half_written` finds of their files.
pub fn remove(half_written: impl FnOnce() -> usize) {
    let removed = subject::remove_leftovers();
    let of = match removed.servers.len() {
        0 => String::new(),
        _ => format!(" (of {})", removed.servers.into_iter().collect::<Vec<_>>().join(", ")),
    };
    let parts = [
        (removed.processes, "server process", "server processes"),
        (removed.groups, "control group", "control groups"),
        (half_written(), "half-written file", "half-written files"),
    ];
    let found = parts.into_iter().filter(|(number, ..)| *number > 0);
    let counted = found.map(|(number, one, many)| counted(number as u64, one, many));
    let texts: Vec<String> = removed.containers.into_iter().chain(counted).collect();
    if !texts.is_empty() {
        notice(format_args!(
            "removed what a loadgen that was killed had left{of}: {}",
            texts.join(", ")
        ));
    }
}
