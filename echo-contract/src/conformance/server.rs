//! The server under test, as a check sees it: an address, and a process if it was started for the check.

use super::client::Client;
use super::fault::{Fault, failed, not_told, until};
use super::{Exit, Launch, Launcher, Means, Process, Profile, Setting, Signal};
use crate::ready::Ready;
use std::fmt::Write as _;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

/// One server and the clients that were numbered for it so far.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) profile: Profile,
    process: Option<Box<dyn Process>>,
    means: Option<Arc<dyn Means>>,
    /// The check has asked it to end.
    is_signalled: bool,
    connections: u64,
}

impl Server {
    pub(super) fn attached(address: SocketAddr, profile: &Profile) -> Self {
        Self {
            address,
            profile: profile.clone(),
            process: None,
            means: None,
            is_signalled: false,
            connections: 0,
        }
    }

    /// Starts a fresh server and finds its address in READY.
    pub(super) fn launch(launcher: &dyn Launcher, setting: &Setting, profile: &Profile) -> Result<Self, Fault> {
        let mut launch = Launch::default();
        if let Setting::Process {
            arguments,
            nofile,
            surroundings,
        } = setting
        {
            launch.arguments = arguments.iter().map(ToString::to_string).collect();
            launch.nofile = *nofile;
            launch.surroundings = *surroundings;
        }
        if !launcher.offers(launch.surroundings) {
            return Err(Fault::NotChecked(
                "needs a launcher that can spoil what a server inherits".into(),
            ));
        }
        let process = launcher
            .launch(&launch)
            .map_err(|error| failed(format!("the server did not start with {:?}: {error}", launch.arguments)))?;
        let said = &process.ready().address;
        let address: SocketAddr = said
            .parse()
            .map_err(|_| failed(format!("READY's address is {said:?}, not IP:PORT")))?;
        Ok(Self {
            address: reachable(address),
            profile: profile.clone(),
            process: Some(process),
            means: None,
            is_signalled: false,
            connections: 0,
        })
    }

    pub(super) fn lend(&mut self, means: Option<Arc<dyn Means>>) {
        self.means = means;
    }

    /// What std's sockets cannot do.
    ///
    /// # Errors
    /// `NotChecked` when nobody lent it.
    pub(super) fn means(&self) -> Result<Arc<dyn Means>, Fault> {
        let missing = || Fault::NotChecked("needs more than std's sockets can do".into());
        self.means.clone().ok_or_else(missing)
    }

    /// A new client with a payload of its own.
    pub(super) fn connect(&mut self) -> Result<Client, Fault> {
        self.connections += 1;
        Client::connect(self.address, self.connections, self.profile.patience)
    }

    /// `count` new clients, connected one after the other.
    pub(super) fn connect_all(&mut self, count: usize) -> Result<Vec<Client>, Fault> {
        (0..count).map(|_| self.connect()).collect()
    }

    /// The process.
    ///
    /// # Errors
    /// `NotChecked` when somebody else started the server.
    pub(super) fn process(&mut self) -> Result<&mut dyn Process, Fault> {
        match &mut self.process {
            Some(process) => Ok(process.as_mut()),
            None => Err(Fault::NotChecked("needs a server that loadgen started".into())),
        }
    }

    pub(super) fn ready(&mut self) -> Result<Ready, Fault> {
        self.process().map(|process| process.ready().clone())
    }

    pub(super) fn signal(&mut self, signal: Signal) -> Result<(), Fault> {
        let sent = self.process()?.signal(signal);
        self.is_signalled = true;
        sent.map_err(|error| failed(format!("the server cannot be signalled: {error}")))
    }

    /// Sends a signal that asks for no end.
    pub(super) fn send_signal(&mut self, signal: Signal) -> Result<(), Fault> {
        let sent = self.process()?.signal(signal);
        sent.map_err(|error| failed(format!("the server cannot be signalled: {error}")))
    }

    /// What [`Process::limit_processes`] does.
    pub(super) fn limit_processes(&mut self, more: Option<u64>) -> Result<(), Fault> {
        let limited = self.process()?.limit_processes(more);
        limited.map_err(|error| Fault::NotChecked(format!("no limit of processes can be set: {error}")))
    }

    /// Waits for the exit.
    pub(super) fn wait(&mut self, limit: Duration) -> Result<Exit, Fault> {
        self.process()?
            .wait(limit)
            .map_err(not_told)?
            .ok_or_else(|| failed(format!("the server had not ended {limit:?} after the signal")))
    }

    /// Descendants in any state, zombies included.
    pub(super) fn children(&mut self) -> Result<Vec<(u32, char)>, Fault> {
        self.process()?.children().map_err(not_told)
    }

    pub(super) fn descriptors(&mut self) -> Result<usize, Fault> {
        self.process()?.descriptors().map_err(not_told)
    }

    pub(super) fn cpu_time(&mut self) -> Result<Duration, Fault> {
        self.process()?.cpu_time().map_err(not_told)
    }

    /// What [`Process::send_urgent`] does.
    pub(super) fn send_urgent(&mut self, client: &TcpStream, bytes: &[u8]) -> Result<io::Result<usize>, Fault> {
        Ok(self.process()?.send_urgent(client, bytes))
    }

    pub(super) fn memory_bytes(&mut self) -> Result<u64, Fault> {
        self.process()?.memory_bytes().map_err(not_told)
    }

    /// [`until`] with the profile's patience.
    pub(super) fn until(
        &mut self,
        mut condition: impl FnMut(&mut Self) -> Result<bool, Fault>,
    ) -> Result<Option<Duration>, Fault> {
        let patience = self.profile.patience;
        until(patience, || condition(self))
    }

    /// What to add to a fault if the server ended of itself meanwhile; else empty.
    pub(super) fn obituary(&mut self) -> String {
        let exit = match &mut self.process {
            Some(process) if !self.is_signalled => process.wait(Duration::ZERO).ok().flatten(),
            _ => None,
        };
        let Some(exit) = exit else {
            return String::new();
        };
        let mut text = format!("; the server had ended with {}", how_ended(&exit));
        let last_words: Vec<&str> = exit.stderr.lines().rev().take(3).collect();
        if !last_words.is_empty() {
            let _ = write!(
                text,
                ", last on stderr: {}",
                last_words.into_iter().rev().collect::<Vec<_>>().join(" | ")
            );
        }
        text
    }
}

/// `exit code 1` or `signal 9`.
pub(super) fn how_ended(exit: &Exit) -> String {
    match (exit.code, exit.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "neither exit code nor signal".into(),
    }
}

/// A server bound to every address is reached over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}
