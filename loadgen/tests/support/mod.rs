//! Echo servers of known behaviour, in this process, and plans to run against them.
#![allow(dead_code, reason = "each test file uses its own part")]

use nix::libc::linger;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use loadgen::engine::{Directive, Moment, Observer, Progress};
use loadgen::record::{Arrivals, OpenLoop, Pacing, Placement, Plan, Start, Stop, Waiting, Workload};
use loadgen::suite::preset;
use loadgen::workload::payload::Payload;

/// What the server does to the n-th read (from 1, over all its connections).
pub(crate) type Fault = fn(u64) -> Misdeed;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misdeed {
    None,
    /// One byte of the echo is changed.
    Corrupt,
    /// Half the echo, then FIN.
    Truncate,
    /// Nothing, then FIN.
    EndOfStream,
    /// The connection is reset.
    Reset,
    /// No echo for these bytes, ever; the connection stays.
    Swallow,
    /// One byte too many.
    Surplus,
}

/// Serves every connection on a thread of its own until the process ends. Returns where.
pub(crate) fn echo_server(fault: Fault) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let reads = Arc::new(AtomicU64::new(0));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let reads = Arc::clone(&reads);
            thread::spawn(move || serve(stream, &reads, fault));
        }
    });
    address
}

fn serve(mut stream: TcpStream, reads: &AtomicU64, fault: Fault) {
    stream.set_nodelay(true).unwrap();
    let mut buffer = [0; 16_384];
    while let Ok(bytes) = stream.read(&mut buffer) {
        if bytes == 0 {
            return;
        }
        let echo = &mut buffer[..bytes];
        match fault(reads.fetch_add(1, Ordering::Relaxed) + 1) {
            Misdeed::None => {}
            Misdeed::Corrupt => echo[bytes / 2] ^= 0xff,
            Misdeed::Truncate => {
                let _ = stream.write_all(&echo[..bytes / 2]);
                return;
            }
            Misdeed::EndOfStream => return,
            Misdeed::Reset => {
                // Closing with unread bytes in the receive queue makes the kernel send a reset; SO_LINGER 0 does always.
                let at_once = linger {
                    l_onoff: 1,
                    l_linger: 0,
                };
                nix::sys::socket::setsockopt(&stream, nix::sys::socket::sockopt::Linger, &at_once).unwrap();
                return;
            }
            Misdeed::Swallow => continue,
            Misdeed::Surplus => {
                let mut more = echo.to_vec();
                more.push(0);
                let _ = stream.write_all(&more);
                continue;
            }
        }
        if stream.write_all(echo).is_err() {
            return;
        }
    }
}

/// A plan that runs a workload on one thread, not pinned.
pub(crate) fn plan(workload: Workload) -> Plan {
    Plan {
        looks_for_answers: false,
        target: "127.0.0.1:0".into(),
        start: Start::Never,
        workload,
        threads: 1,
        placement: Placement {
            asked: "off".into(),
            server_cpus: vec![],
            loadgen_cpus: vec![],
            shared: true,
        },
        timeout_ms: 5_000,
        connect_timeout_ms: 5_000,
        max_errors_percent: Plan::MAX_ERRORS_PERCENT,
        seed: 1,
        source_addresses: vec![],
        repeat_for_ms: 0,
        connect_window: 100,
        connect_rate_per_s: None,
        counting: false,
        start_at: None,
        network: loadgen::record::NetworkChoice::Host,
        reach: loadgen::record::Reach::default(),
        external: None,
        workers: None,
        work_ns: None,
    }
}

/// What the plan sends.
pub(crate) fn payload(plan: &Plan) -> Payload {
    Payload::of(&plan.workload.payload, plan.seed, None)
}

/// A job of so many clients and messages each.
pub(crate) fn job(clients: u32, messages: u64) -> Workload {
    Workload {
        name: "custom".into(),
        stop: Stop::MessagesPerClient(messages),
        warmup_ms: 0,
        ..preset::unnamed(clients)
    }
}

/// A closed loop for so long, after a short warm-up.
pub(crate) fn closed_loop(clients: u32, duration_ms: u64) -> Workload {
    Workload {
        stop: Stop::AfterMs(duration_ms),
        warmup_ms: 100,
        ..preset::unnamed(clients)
    }
}

/// An open loop at this rate for so long, after a short warm-up.
pub(crate) fn open_loop(clients: u32, rate_per_s: u64, duration_ms: u64) -> Workload {
    Workload {
        pacing: Pacing::OpenLoop(OpenLoop {
            rate_per_s,
            arrivals: Arrivals::Constant,
            ramp_ms: 0,
            waiting: Waiting::Hybrid,
        }),
        ..closed_loop(clients, duration_ms)
    }
}

/// Notes the moments and stops when told to.
#[derive(Default)]
pub(crate) struct Watch {
    pub(crate) moments: Vec<String>,
    pub(crate) stop_after_ok: Option<u64>,
}

impl Observer for Watch {
    fn moment(&mut self, moment: Moment<'_>) {
        let name = format!("{moment:?}");
        self.moments.push(name.split([' ', '{']).next().unwrap().to_string());
    }

    fn look(&mut self, progress: Progress) -> Directive {
        match self.stop_after_ok {
            Some(ok) if progress.ok >= ok => Directive::Stop("the test said so".into()),
            _ => Directive::Continue,
        }
    }
}
