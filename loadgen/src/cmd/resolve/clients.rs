//! What clients send, and how their connections begin and end: from the flags to workload and plan.

use crate::cmd::arguments::{ClientArgs, Size};
use crate::failure::Failure;
use crate::record::{Payload, Workload};
use crate::subject;
use std::path::Path;

/// As many as the shortest accept queue in common use (100, Python's asyncio) takes.
const CONNECT_WINDOW: u32 = 100;
/// A larger window is a typing mistake.
const MOST_CONNECT_WINDOW: u64 = 1_000_000;

/// Sets what the flags say on top of the workload's own; `size` is what was typed beside them.
pub fn apply(args: &ClientArgs, size: Option<Size>, workload: &mut Workload) -> Result<(), Failure> {
    if let Some(text) = &args.payload {
        workload.payload = payload(text)?;
    }
    if let Some(close) = args.close {
        workload.close = close;
    }
    let Payload::File(file) = &workload.payload else {
        return Ok(());
    };
    if let Some(size) = size {
        return Err(Failure::usage(format!(
            "--size {size} and --payload {} exclude each other: a message is the content of the file, {} bytes. Leave --size out",
            file.path, file.bytes
        )));
    }
    (workload.size_min_bytes, workload.size_max_bytes) = (file.bytes, file.bytes);
    Ok(())
}

/// `--payload` of a workload file: a file is looked for beside it, wherever loadgen is started.
pub(super) fn beside(workload_file: &Path, payload: String) -> String {
    match (payload.as_str(), workload_file.parent()) {
        ("binary" | "lines", _) | (_, None) => payload,
        (file, Some(folder)) => folder.join(file).to_string_lossy().into_owned(),
    }
}

fn payload(text: &str) -> Result<Payload, Failure> {
    Ok(match text {
        "binary" => Payload::Binary,
        "lines" => Payload::Lines,
        path => Payload::File(subject::file_of(path)?),
    })
}

/// See [`Plan::connect_window`](crate::record::Plan::connect_window).
pub fn connect_window(args: &ClientArgs) -> Result<u32, Failure> {
    let Some(window) = args.connect_window else {
        return Ok(CONNECT_WINDOW);
    };
    let fitting = u32::try_from(window).ok().filter(|_| window <= MOST_CONNECT_WINDOW);
    fitting.ok_or_else(|| Failure::usage(format!("--connect-window {window} is more than {MOST_CONNECT_WINDOW}")))
}
