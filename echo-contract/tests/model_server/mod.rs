//! An echo server inside the test, one thread for each client, that keeps the whole contract or breaks it in one way.
//!
//! It shows that a check fails when, and only when, what it speaks of is broken. It is no model for a real server:
//! it polls, and it plays signals, limits, flags and CPU time.

mod connection;
mod means;
mod process;

use connection::Connections;
use echo_contract::conformance::Surroundings;
use echo_contract::ready::Ready;
use echo_contract::stats::Stats;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

pub(crate) use means::SocketOptions;
pub(crate) use process::ModelLauncher;

/// The one way in which a server is broken.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Vice {
    None,

    // Bytes and half-close.
    LosesByte100000,
    AnswersEmptiness,
    HoldsAnOddByte,
    EndsAfter500Messages,
    MixesUpManyClients,
    HangsUpOnEvery150th,
    LosesWhatItOwesAtFin,
    ResetsLongStreams,
    EndsQuietClients,
    EndsAllWithOne,
    AddsAByteInACrowd,
    LosesUrgentBytes,

    // Isolation.
    ReadsWithoutBound,
    ServesOneAtATime,
    WritesUnderOneLock,
    StopsAfter100Resets,
    LeaksADescriptorOnReset,
    /// Where it has work to do.
    LetsStreamsHoldOthersUp,
    KeepsMuchForEachClient,

    // Admission.
    ServesElevenOfTen,
    RefusesWithAReset,
    NeverFreesAPlace,
    CountsTheRefusedAsServed,
    SpinsWhenFull,
    TalksWhenFull,
    RefusesWhenFull,
    ForgetsWhoWaits,
    LeaksADescriptorOnVanished,
    RefusesBeforeItAcceptsTheNext,
    FreesAPlaceLate,
    LetsTheRefusedKeepOthersOut,

    // Stop.
    ExitsWithOne,
    PrintsNoStats,
    LiesInStats(fn(&mut Stats)),
    AddsAByteOnStop,
    ResetsOnStop,
    IgnoresInterrupt,
    ListensOnAfterStop,
    ForgetsIdleClientsOnStop,
    DrainsForEver,
    DoesNotDrain,
    ExitsWithZeroOnSecondSignal,
    IgnoresSecondSignal,
    LeavesZombies,
    LeavesOrphans,
    ObeysACarelessParent,
    WaitsForStderr,

    // Exposure, equal terms, io_uring.
    ListensEverywhere,
    WarnsAlways,
    WarnsNever,
    LiesInReady(fn(&mut Ready)),
    DelaysSmallAnswers,
    NeverEndsIdleClients,
    EndsActiveClients,
    EndsIdleClientsAtOnce,
    SkipsWork,
    WorksForAll,
}

/// What the flags said.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) bind: String,
    pub(crate) max_connections: Option<u64>,
    /// As RLIMIT_NOFILE would limit the clients; std listens with a backlog of 128, so it must not be too small.
    pub(crate) most_clients: Option<u64>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) drain_timeout: Duration,
    pub(crate) work: Duration,
    pub(crate) work_source: Option<String>,
    pub(crate) surroundings: Surroundings,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            bind: "127.0.0.1".into(),
            max_connections: None,
            most_clients: None,
            idle_timeout: None,
            drain_timeout: Duration::from_secs(10),
            work: Duration::ZERO,
            work_source: None,
            surroundings: Surroundings::Ordinary,
        }
    }
}

/// A listener with its accepting thread.
pub(crate) struct ModelServer {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Arc<Connections>,
}

impl ModelServer {
    pub(crate) fn start(vice: Vice, options: Options) -> io::Result<Self> {
        let wide = matches!(vice, Vice::ListensEverywhere);
        let listener = TcpListener::bind((if wide { "0.0.0.0" } else { &options.bind }, 0))?;
        listener.set_nonblocking(true)?;
        let address = SocketAddr::new(
            options.bind.parse().map_err(io::Error::other)?,
            listener.local_addr()?.port(),
        );
        let connections = Arc::new(Connections::new(vice, options));
        let accepting = Arc::clone(&connections);
        std::thread::Builder::new().spawn(move || accept_loop(&listener, &accepting))?;
        Ok(Self { address, connections })
    }
}

impl Drop for ModelServer {
    fn drop(&mut self) {
        self.connections.kill();
    }
}

const POLL: Duration = Duration::from_millis(1);

fn accept_loop(listener: &TcpListener, connections: &Arc<Connections>) {
    let vice = connections.vice;
    while !connections.listening_is_over() {
        if connections.is_full() {
            match vice {
                Vice::SpinsWhenFull => connections.burn(POLL),
                Vice::TalksWhenFull => connections.say("accept: too many open files"),
                Vice::ForgetsWhoWaits => return wait_for_stop(connections),
                Vice::WaitsForStderr if connections.options.surroundings == Surroundings::FullStderr => {
                    return wait_for_stop(connections);
                }
                _ => {}
            }
            if !matches!(vice, Vice::RefusesWhenFull) {
                std::thread::sleep(POLL);
                continue;
            }
        }
        match listener.accept() {
            Ok((stream, peer)) => connections.take(stream, peer),
            Err(_) => std::thread::sleep(POLL),
        }
        if matches!(vice, Vice::StopsAfter100Resets) && connections.resets.load(SeqCst) > 100 {
            return wait_for_stop(connections);
        }
    }
}

/// Keeps the listener open without accepting.
fn wait_for_stop(connections: &Connections) {
    while !connections.listening_is_over() {
        std::thread::sleep(POLL);
    }
}
