//! A server that is not of the catalog: any command that listens on the port it is given.

use super::{NetworkChoice, Workload};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// What to start, and how to tell that it is up. `{port}`, `{host}`, `{workers}` and `{cpus}` in command, environment and
/// folder are filled in for each start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct External {
    /// Its name in `--targets` and in tables.
    pub name: String,
    pub model: ExternalModel,
    /// The program and its arguments; no shell reads them.
    pub command: Vec<String>,
    /// Set beside what loadgen's own environment has.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub environment: BTreeMap<String, String>,
    /// Where it is started, built and asked for its version; null means where loadgen was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// A program that must be on the PATH, perhaps with the least first number of its version: `go`, `java >= 21`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Tool>,
    /// Run once before the first start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<Vec<String>>,
    /// A command whose first line of output is the version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Vec<String>>,
    /// A regular expression: it is up when it has printed a line that matches, and echoes. Null waits for the echo only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready: Option<String>,
    /// Where it must be started; null leaves that to `--network`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub network: Option<NetworkChoice>,
    /// Warm-up of timed workloads, where it is longer than the workload's own: for compilers that work while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup_ms: Option<u64>,
    /// For the reader of `loadgen list`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// See [`External::model`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ExternalModel {
    /// A process for each client.
    Fork,
    /// A thread for each client.
    Thread,
    /// An event loop.
    Event,
    /// Another one, or not said.
    #[default]
    Other,
}

impl ExternalModel {
    /// The word in tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fork => "fork",
            Self::Thread => "thread",
            Self::Event => "event",
            Self::Other => "other",
        }
    }
}

/// See [`External::needs`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct Tool {
    pub program: String,
    /// The least first number of what `PROGRAM --version` prints.
    pub version_min: Option<u64>,
}

impl TryFrom<String> for Tool {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let (program, version_min) = match text.split_once(">=") {
            None => (text.trim(), None),
            Some((program, least)) => {
                let least = least.trim();
                let least = least
                    .parse()
                    .map_err(|_| format!("`{text}`: `{least}` is not a whole number; write it like `java >= 21`"))?;
                (program.trim(), Some(least))
            }
        };
        if program.is_empty() || program.contains(char::is_whitespace) {
            return Err(format!("`{text}` names no program; write it like `go` or `java >= 21`"));
        }
        Ok(Self {
            program: program.to_owned(),
            version_min,
        })
    }
}

impl From<Tool> for String {
    fn from(tool: Tool) -> Self {
        tool.to_string()
    }
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version_min {
            None => f.write_str(&self.program),
            Some(least) => write!(f, "{} >= {least}", self.program),
        }
    }
}

/// What the placeholders stand for in one start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholders {
    pub port: u16,
    pub host: String,
    pub workers: u32,
    /// As in `0` or `0,2`; empty when the server is not pinned.
    pub cpus: String,
}

impl Placeholders {
    /// The text with every placeholder filled in. What else stands in braces stays.
    #[must_use]
    pub fn fill(&self, text: &str) -> String {
        text.replace("{port}", &self.port.to_string())
            .replace("{host}", &self.host)
            .replace("{workers}", &self.workers.to_string())
            .replace("{cpus}", &self.cpus)
    }
}

impl External {
    /// Warm-up of a workload with this server, in milliseconds: the workload's, or the server's own where that is longer. A job has
    /// none.
    #[must_use]
    pub fn warmup_ms_of(&self, workload: &Workload) -> u64 {
        match self.warmup_ms {
            Some(own_ms) if !workload.is_job() => workload.warmup_ms.max(own_ms),
            _ => workload.warmup_ms,
        }
    }

    /// Where it is started when this network was asked for.
    #[must_use]
    pub fn network_of(&self, asked: NetworkChoice) -> NetworkChoice {
        self.network.unwrap_or(asked)
    }

    /// Whether the server can learn its port at all.
    #[must_use]
    pub fn is_told_its_port(&self) -> bool {
        self.mentions("{port}")
    }

    /// Whether the server learns how many workers it is to have.
    #[must_use]
    pub fn takes_workers(&self) -> bool {
        self.mentions("{workers}")
    }

    fn mentions(&self, placeholder: &str) -> bool {
        let mut texts = self.command.iter().chain(self.environment.values());
        texts.any(|text| text.contains(placeholder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_wherever_they_stand() {
        let start = Placeholders {
            port: 8123,
            host: "127.0.0.1".into(),
            workers: 2,
            cpus: "0,2".into(),
        };
        assert_eq!(start.fill("--listen={host}:{port}"), "--listen=127.0.0.1:8123");
        assert_eq!(
            start.fill("taskset -c {cpus} x{workers} {else}"),
            "taskset -c 0,2 x2 {else}"
        );
    }

    #[test]
    fn a_tool_may_name_its_least_version() {
        let tool = |text: &str| Tool::try_from(text.to_owned());
        assert_eq!(tool("go").unwrap().version_min, None);
        let java = tool("java >= 21").unwrap();
        assert_eq!((java.program.as_str(), java.version_min), ("java", Some(21)));
        assert_eq!(java.to_string(), "java >= 21");
        assert!(tool("java >= new").unwrap_err().contains("`new` is not a whole number"));
        assert!(tool(" ").is_err() && tool("a b").is_err());
    }

    #[test]
    fn a_port_may_be_told_by_the_environment() {
        let mut server = External {
            command: vec!["node".into(), "server.js".into()],
            ..External::default()
        };
        assert!(!server.is_told_its_port());
        server.environment.insert("PORT".into(), "{port}".into());
        assert!(server.is_told_its_port());
    }
}
