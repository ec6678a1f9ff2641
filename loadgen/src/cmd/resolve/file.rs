//! A workload from a TOML file, in the flags' own names and notations.

use super::clients;
use super::workload::workload;
use crate::cmd::arguments::{self, ClientArgs, Spacing, WorkloadArgs};
use crate::failure::Failure;
use crate::record::{CloseBy, Waiting, Workload};
use crate::suite::preset;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// A workload file: the flags' names and notations.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct WorkloadFile {
    clients: Option<u64>,
    messages: Option<u64>,
    total_messages: Option<u64>,
    duration: Option<String>,
    warmup: Option<String>,
    size: Option<toml::Value>,
    pipeline: Option<u64>,
    churn: Option<bool>,
    messages_per_connection: Option<u64>,
    payload: Option<String>,
    close: Option<CloseBy>,
    rate: Option<toml::Value>,
    arrivals: Option<Spacing>,
    burst_size: Option<u64>,
    ramp: Option<String>,
    pacing: Option<Waiting>,
}

pub(super) fn from_file(path: &str) -> Result<Workload, Failure> {
    if !Path::new(path).exists() {
        let names: Vec<_> = preset::PRESETS.iter().map(|preset| preset.name).collect();
        return Err(Failure::usage(format!(
            "--workload {path} is neither a preset ({}) nor a file that exists",
            names.join(", ")
        )));
    }
    let wrong = |what: String| Failure::usage(format!("workload file {path}: {what}"));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let file: WorkloadFile = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let time = |field: &str, text: Option<String>| -> Result<Option<Duration>, Failure> {
        text.map(|text| arguments::duration(&text))
            .transpose()
            .map_err(|error| wrong(format!("{field}: {error}")))
    };
    let size = file.size.map(as_typed).map(|text| arguments::size(&text)).transpose();
    let rate = file.rate.map(as_typed).map(|text| arguments::count(&text)).transpose();
    let stops = [
        file.messages.is_some(),
        file.total_messages.is_some(),
        file.duration.is_some(),
    ];
    if stops.into_iter().filter(|&stop| stop).count() > 1 {
        return Err(wrong("messages, total-messages and duration exclude each other".into()));
    }
    let name = Path::new(path)
        .file_stem()
        .map_or_else(|| path.to_string(), |stem| stem.to_string_lossy().into_owned());
    let typed = WorkloadArgs {
        workload: None,
        clients: file.clients,
        messages: file.messages,
        total_messages: file.total_messages,
        duration: time("duration", file.duration)?,
        warmup: time("warmup", file.warmup)?,
        size: size.map_err(|error| wrong(format!("size: {error}")))?,
        pipeline: file.pipeline,
        churn: file.churn.unwrap_or(false),
        messages_per_connection: file.messages_per_connection,
        client: ClientArgs {
            payload: file.payload.map(|payload| clients::beside(Path::new(path), payload)),
            close: file.close,
            ..ClientArgs::default()
        },
        rate: rate.map_err(|error| wrong(format!("rate: {error}")))?,
        arrivals: file.arrivals,
        burst_size: file.burst_size,
        ramp: time("ramp", file.ramp)?,
        pacing: file.pacing,
        seed: 0,
    };
    let mut workload = workload(&typed).map_err(|failure| wrong(failure.text))?;
    workload.name = name;
    Ok(workload)
}

/// A value as it would stand behind its flag: 64, "64", "64..1024".
fn as_typed(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}
