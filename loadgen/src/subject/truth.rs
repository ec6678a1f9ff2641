//! The truth server of the accuracy tests, as a process of its own: the same life as any server that is measured.

use super::build;
use super::server::stop;
use super::spawn::{Launch, Running};
use crate::failure::Failure;
use crate::sampler::Cgroup;
use echo_contract::stats::Stats;
use std::net::SocketAddr;

/// The hidden verb that becomes it.
pub const TRUTH_VERB: &str = "truth-server";

/// A truth server that runs; dropping it kills it.
#[derive(Debug)]
pub struct TruthServer {
    running: Running,
    address: SocketAddr,
}

impl TruthServer {
    /// Starts one; `behaviour` is JSON, `cpus` empty means not pinned.
    ///
    /// # Errors
    /// When loadgen's own executable cannot be started again.
    pub fn start(behaviour: &str, cpus: &[usize]) -> Result<Self, Failure> {
        let loadgen = build::loadgen_executable(&build::server_directory(true)?)?;
        let mut arguments = vec![TRUTH_VERB.to_owned(), behaviour.to_owned()];
        for cpu in cpus {
            arguments.extend(["--cpu".to_owned(), cpu.to_string()]);
        }
        let launch = Launch {
            launcher: &loadgen,
            binary: &loadgen,
            arguments: &arguments,
            environment: &[],
            folder: None,
            cpus: &[],
            nofile: None,
            target: TRUTH_VERB,
            workers: None,
            counts_syscalls: false,
        };
        let failed = |text: String| Failure::fault(format!("the truth server could not be started: {text}"));
        let (running, ready) = Running::start(&launch, Cgroup::create()).map_err(failed)?;
        let address = ready.address.parse();
        let address = address.map_err(|_| failed("READY has no address".into()))?;
        Ok(Self { running, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid()
    }

    /// Stops it, and tells what it counted.
    ///
    /// # Errors
    /// When it did not end in order: then nothing that it served may be trusted.
    pub fn stop(self) -> Result<Stats, Failure> {
        let stopped = stop(self.running);
        match stopped.stats {
            Some(stats) if stopped.clean => Ok(stats),
            _ => Err(Failure::fault(format!("the truth server failed: {}", stopped.text))),
        }
    }
}
