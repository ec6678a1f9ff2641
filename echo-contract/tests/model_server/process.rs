//! The model server behind the same traits as a real process.

use super::connection::{Connections, KILLED};
use super::{ModelServer, Options, POLL, Vice};
use echo_contract::catalog::{IoInterface, Model};
use echo_contract::conformance::{Exit, Launch, Launcher, Process, Signal, Surroundings};
use echo_contract::ready::{BufferPolicy, Ready};
use nix::sys::socket::{MsgFlags, send};
use std::io;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

/// Starts model servers with one vice.
pub(crate) struct ModelLauncher {
    pub(crate) vice: Vice,
    /// Most clients served at the same time, as by a pool; the others wait.
    pub(crate) workers: Option<u64>,
}

impl Launcher for ModelLauncher {
    fn launch(&self, launch: &Launch) -> io::Result<Box<dyn Process>> {
        let vice = self.vice;
        let mut ready = defaults();
        let mut options = Options {
            most_clients: self.workers.or(launch.nofile.map(|_| 100)),
            surroundings: launch.surroundings,
            ..Options::default()
        };
        for pair in launch.arguments.chunks(2) {
            apply(&pair[0], &pair[1], &mut options, &mut ready)?;
        }
        let server = ModelServer::start(vice, options)?;
        let warns = server.address.ip().is_unspecified();
        if (warns && !matches!(vice, Vice::WarnsNever)) || matches!(vice, Vice::WarnsAlways) {
            server
                .connections
                .say("warning: anybody who reaches this address can use the echo");
        }
        ready.address = server.address.to_string();
        if let Vice::LiesInReady(lie) = vice {
            lie(&mut ready);
        }
        Ok(Box::new(ModelProcess {
            ready,
            server,
            ended: None,
        }))
    }

    fn offers(&self, _surroundings: Surroundings) -> bool {
        true
    }
}

struct ModelProcess {
    ready: Ready,
    server: ModelServer,
    ended: Option<Exit>,
}

impl Process for ModelProcess {
    fn ready(&self) -> &Ready {
        &self.ready
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let connections = &self.server.connections;
        match (signal, connections.vice) {
            (Signal::Interrupt, Vice::IgnoresInterrupt) | (Signal::Kill, Vice::LeavesOrphans) => {}
            // Threads of this process: nothing to stop alone.
            (Signal::Pipe | Signal::Stop | Signal::Continue, _) => {}
            (Signal::Kill, _) => connections.kill(),
            (_, Vice::ObeysACarelessParent) if connections.options.surroundings == Surroundings::CarelessParent => {}
            (Signal::Terminate | Signal::Interrupt, vice) => {
                let earlier = connections.signals.fetch_add(1, SeqCst);
                if earlier > 0 && !matches!(vice, Vice::IgnoresSecondSignal) {
                    connections.kill();
                } else if !matches!(vice, Vice::DrainsForEver) {
                    end_draining_later(self);
                }
            }
        }
        if signal == Signal::Kill {
            connections.signals.fetch_add(KILLED, SeqCst);
        }
        Ok(())
    }

    fn wait(&mut self, limit: Duration) -> io::Result<Option<Exit>> {
        let deadline = Instant::now() + limit;
        loop {
            if self.ended.is_none() {
                self.ended = exit_of(&self.server.connections);
            }
            if self.ended.is_some() || Instant::now() >= deadline {
                return Ok(self.ended.clone());
            }
            std::thread::sleep(POLL);
        }
    }

    fn cpu_time(&self) -> io::Result<Duration> {
        Ok(self.server.connections.cpu_time())
    }

    fn children(&self) -> io::Result<Vec<(u32, char)>> {
        let connections = &self.server.connections;
        let ended = u32::try_from(connections.ended.load(SeqCst)).unwrap_or(u32::MAX);
        let zombies = if matches!(connections.vice, Vice::LeavesZombies) {
            ended
        } else {
            0
        };
        Ok((0..zombies).map(|number| (number + 2, 'Z')).collect())
    }

    fn memory_bytes(&self) -> io::Result<u64> {
        let connections = &self.server.connections;
        let each = match connections.vice {
            Vice::KeepsMuchForEachClient => 668 << 10,
            _ => 16 << 10,
        };
        Ok((1 << 20) + each * connections.open_connections() as u64)
    }

    fn send_urgent(&self, client: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(client.as_raw_fd(), bytes, MsgFlags::MSG_OOB)?)
    }

    fn descriptors(&self) -> io::Result<usize> {
        let connections = &self.server.connections;
        let leaked = usize::try_from(connections.leaked.load(SeqCst)).unwrap_or(usize::MAX);
        Ok(5 + connections.open_connections() + leaked)
    }
}

fn end_draining_later(process: &ModelProcess) {
    let connections = std::sync::Arc::clone(&process.server.connections);
    std::thread::spawn(move || {
        std::thread::sleep(connections.options.drain_timeout);
        connections.kill();
    });
}

/// How the process ended; none while it lives.
fn exit_of(connections: &Connections) -> Option<Exit> {
    let signals = connections.signals.load(SeqCst);
    let (code, signal) = match signals {
        0 => return None,
        1 if !connections.is_stopping() || connections.open_connections() > 0 => return None,
        1 if matches!(connections.vice, Vice::ExitsWithOne) => (Some(1), None),
        1 => (Some(0), None),
        2.. if signals >= KILLED => (None, Some(9)),
        _ if connections.open_connections() > 0 => return None,
        _ if matches!(connections.vice, Vice::ExitsWithZeroOnSecondSignal) => (Some(0), None),
        _ => (None, Some(15)),
    };
    // Read last: what was counted before the last connection had ended would not add up.
    let prints = code.is_some() && !matches!(connections.vice, Vice::PrintsNoStats);
    let mut stats = prints.then(|| connections.stats());
    if let (Vice::LiesInStats(lie), Some(stats)) = (connections.vice, &mut stats) {
        lie(stats);
    }
    Some(Exit {
        code,
        signal,
        stats,
        stderr: connections.stderr(),
    })
}

fn defaults() -> Ready {
    Ready {
        target: "model".into(),
        pid: std::process::id(),
        address: String::new(),
        model: Model::Thread,
        runtime: "std".into(),
        runtime_version: "1.95.0".into(),
        io_interface: IoInterface::Blocking,
        accept_model: "shared listener".into(),
        workers: 1,
        buffer_bytes: 16 * 1024,
        buffer_policy: Some(BufferPolicy::PerConnection),
        backlog: 4096,
        congestion_control: "reno".into(),
        nodelay: true,
        max_connections: None,
        idle_timeout_ms: None,
        drain_timeout_ms: 10_000,
        work_ns: 0,
        work_source: None,
        cpus: None,
        nofile: 1024,
        ring: None,
    }
}

fn apply(flag: &str, value: &str, options: &mut Options, ready: &mut Ready) -> io::Result<()> {
    match flag {
        "--bind" => options.bind = value.into(),
        "--buffer-size" => ready.buffer_bytes = number(value, "KiB")? * 1024,
        "--backlog" => ready.backlog = value.parse().map_err(io::Error::other)?,
        "--max-connections" => {
            ready.max_connections = Some(number(value, "")?);
            options.max_connections = ready.max_connections;
        }
        "--idle-timeout" => {
            ready.idle_timeout_ms = Some(number(value, "s")? * 1000);
            options.idle_timeout = ready.idle_timeout_ms.map(Duration::from_millis);
        }
        "--drain-timeout" => {
            ready.drain_timeout_ms = number(value, "s")? * 1000;
            options.drain_timeout = Duration::from_millis(ready.drain_timeout_ms);
        }
        "--work" => {
            let micros = number(value, "us").or_else(|_| number(value, "ms").map(|millis| millis * 1000))?;
            options.work = Duration::from_micros(micros);
            ready.work_ns = micros * 1000;
        }
        "--work-source" => {
            ready.work_source = Some(value.into());
            options.work_source = Some(value.into());
        }
        other => return Err(io::Error::other(format!("unexpected argument {other}"))),
    }
    Ok(())
}

fn number(value: &str, unit: &str) -> io::Result<u64> {
    value
        .strip_suffix(unit)
        .unwrap_or(value)
        .parse()
        .map_err(io::Error::other)
}
