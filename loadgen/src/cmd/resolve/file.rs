//! A workload from a TOML file, or a table in one, in the flags' own names and notations.

use super::clients;
use super::workload::workload;
use crate::cmd::arguments::{self, ClientArgs, Spacing, WorkloadArgs};
use crate::failure::Failure;
use crate::record::{CloseBy, Waiting, Workload};
use crate::suite::preset;
use serde::Deserialize;
use std::path::Path;
use std::time::Duration;

/// A workload in TOML: the flags' names and notations.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(in crate::cmd) struct WorkloadToml {
    /// In tables; of a file that does not say, its own name.
    pub(in crate::cmd) name: Option<String>,
    clients: Option<u64>,
    active_clients: Option<u64>,
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
    let file: WorkloadToml = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    let stem = Path::new(path).file_stem();
    let stem = stem.map_or_else(|| path.to_string(), |stem| stem.to_string_lossy().into_owned());
    let name = file.name.clone().unwrap_or(stem);
    file.into_workload(Path::new(path), name).map_err(wrong)
}

impl WorkloadToml {
    /// The workload, complete; `beside` is the file that it stands in.
    ///
    /// # Errors
    /// One sentence that names the field.
    pub(in crate::cmd) fn into_workload(self, beside: &Path, name: String) -> Result<Workload, String> {
        let time = |field: &str, text: Option<String>| -> Result<Option<Duration>, String> {
            let time = text.map(|text| arguments::duration(&text)).transpose();
            time.map_err(|error| format!("{field}: {error}"))
        };
        let size = self.size.map(as_typed).map(|text| arguments::size(&text)).transpose();
        let rate = self.rate.map(as_typed).map(|text| arguments::count(&text)).transpose();
        let stops = [
            self.messages.is_some(),
            self.total_messages.is_some(),
            self.duration.is_some(),
        ];
        if stops.into_iter().filter(|&stop| stop).count() > 1 {
            return Err("messages, total-messages and duration exclude each other".into());
        }
        let typed = WorkloadArgs {
            workload: None,
            clients: self.clients,
            active_clients: self.active_clients,
            messages: self.messages,
            total_messages: self.total_messages,
            duration: time("duration", self.duration)?,
            warmup: time("warmup", self.warmup)?,
            size: size.map_err(|error| format!("size: {error}"))?,
            pipeline: self.pipeline,
            churn: self.churn.unwrap_or(false),
            messages_per_connection: self.messages_per_connection,
            client: ClientArgs {
                payload: self.payload.map(|payload| clients::beside(beside, payload)),
                close: self.close,
                ..ClientArgs::default()
            },
            rate: rate.map_err(|error| format!("rate: {error}"))?,
            arrivals: self.arrivals,
            burst_size: self.burst_size,
            ramp: time("ramp", self.ramp)?,
            pacing: self.pacing,
            seed: 0,
        };
        let workload = workload(&typed).map_err(|failure| failure.text)?;
        Ok(Workload { name, ..workload })
    }
}

/// A value as it would stand behind its flag: 64, "64", "64..1024".
fn as_typed(value: toml::Value) -> String {
    match value {
        toml::Value::String(text) => text,
        other => other.to_string(),
    }
}
