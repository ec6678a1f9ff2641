//! What a crash takes with it: many clients are connected and silent, and SIGABRT ends the process that serves one of them. How many
//! clients have no echo any more, and how long it takes until a new one has one. Only of servers that loadgen started.

use super::assembly;
use super::request::{request, what_is_sent, work};
use super::trial::Context;
use crate::engine::crowd::{Crowd, Newcomer};
use crate::engine::{Phase, Progress, limits};
use crate::environment;
use crate::failure::Failure;
use crate::record::{Environment, Incomplete, Isolation, Measurement, NetworkPlace, Origin, Plan};
use crate::sampler::process::{Entry, Watch};
use crate::sampler::socket;
use crate::subject::{self, Server};
use crate::units::{duration_ns, share};
use crate::workload::pool;
use std::thread;
use std::time::{Duration, Instant};

/// How long a new client waits to be served, and those that are there for their echoes.
const PATIENCE: Duration = Duration::from_secs(5);
/// How often it is looked whether a process has ended.
const LOOK: Duration = Duration::from_micros(500);

/// Runs the trial in the network that this thread is in.
///
/// # Errors
/// When the server cannot be had. Whatever happens then is in the record.
pub(super) fn measure(
    plan: &Plan,
    context: &Context<'_>,
    place: NetworkPlace,
    progress: &mut dyn FnMut(Progress),
) -> Result<Measurement, Failure> {
    let workers = pool::workers(&plan.target, plan.workload.clients, plan.workers.or(context.workers))?;
    let started_at = jiff::Timestamp::now().to_string();
    let environment = Environment {
        network: Some(place),
        ..environment::capture()
    };
    let (_, opening) = what_is_sent(plan)?;
    let arguments = work(plan);
    let server = limits::without_cores(|| subject::obtain(&request(plan, context, workers, &opening, &arguments)))?;
    let target = server.description();
    let crash = crash(plan, &server, context.interrupted, progress);
    let stopped = server.stop();
    let crash = match crash {
        // How it ended is of interest only where it was not to end.
        Err(why) if !(context.interrupted)() && !stopped.clean => {
            Err(format!("{why}; {}", stopped.text).as_str().into())
        }
        Err(_) if (context.interrupted)() => Err(Incomplete::Interrupted),
        Err(why) => Err(why.as_str().into()),
        Ok(isolation) => Ok(isolation),
    };
    Ok(assembly::of_a_crash(
        plan,
        context,
        assembly::Crash {
            started_at,
            environment,
            target,
            isolation: crash,
        },
    ))
}

/// Connects everybody, ends the process that serves one of them, and sees who is left.
fn crash(
    plan: &Plan,
    server: &Server,
    interrupted: &dyn Fn() -> bool,
    progress: &mut dyn FnMut(Progress),
) -> Result<Isolation, String> {
    if server.origin() != Origin::Started {
        return Err("loadgen ends no process of a server that it did not start".into());
    }
    let clients = plan.workload.clients;
    let begun = Instant::now();
    let patience = Duration::from_millis(plan.timeout_ms);
    let mut crowd = Crowd::connect(server.addresses(), clients, patience, &mut |connected| {
        progress(connecting(connected, clients, begun.elapsed()));
        !interrupted()
    })?;
    let (client, address) = crowd.one()?;
    let processes = server.processes();
    let victim = who_serves(&socket::holders(address, client)?)?;
    let watch = Watch::new(victim.pid).ok_or("the process that serves the client is gone")?;
    let aborted = Instant::now();
    server.abort(victim.pid)?;
    let is_hopeless = || interrupted() || !server.is_alive();
    let served_again = loop {
        let newcomer = Newcomer::served(server.address(), aborted, PATIENCE, &is_hopeless);
        wait_for_the_end(&watch, aborted)?;
        let Some(mut newcomer) = newcomer else { break None };
        // Not by the process that was about to end.
        if newcomer.is_still_served(PATIENCE) {
            break Some(newcomer.waited);
        }
    };
    let clients_lost = crowd.lost(PATIENCE);
    if interrupted() {
        return Err("stopped by a signal".into());
    }
    Ok(Isolation {
        clients: Some(clients.into()),
        processes: Some(processes.len() as u64),
        first_was_ended: Some(server.pid() == Some(victim.pid)),
        clients_lost: Some(clients_lost),
        served_again_ns: served_again.map(duration_ns),
        server_is_gone: Some(!server.is_alive()),
        patience_ms: u64::try_from(PATIENCE.as_millis()).ok(),
    })
}

/// Waits until the process is dead, at most as long as anybody is waited for.
fn wait_for_the_end(watch: &Watch, aborted: Instant) -> Result<(), String> {
    while watch.is_alive() {
        // A new client may have waited as long as that before.
        if aborted.elapsed() > 2 * PATIENCE {
            return Err(format!("SIGABRT did not end it within {} s", 2 * PATIENCE.as_secs()));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Of the processes that hold a connection the one that serves it: none that is the parent of another one, which it was handed to;
/// of several the oldest, since what was forked later for other clients may hold it as well.
fn who_serves(holders: &[Entry]) -> Result<Entry, String> {
    let is_parent = |holder: &&Entry| holders.iter().any(|other| other.parent == holder.pid);
    let oldest =
        (holders.iter().filter(|holder| !is_parent(holder))).min_by_key(|holder| (holder.started_ticks, holder.pid));
    oldest.copied().ok_or_else(|| "nobody holds the connection".into())
}

fn connecting(connected: u32, clients: u32, elapsed: Duration) -> Progress {
    Progress {
        phase: Phase::Connect,
        fraction: share(connected.into(), clients.into()).unwrap_or(1.0),
        ok: connected.into(),
        errors: 0,
        connected: connected.into(),
        elapsed,
        rate_per_s: None,
        response_p50_ns: None,
        response_p99_ns: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(pid: u32, parent: u32, started_ticks: u64) -> Entry {
        Entry {
            pid,
            parent,
            group: 1,
            state: 'S',
            threads: 1,
            own_cpu_ns: 0,
            reaped_cpu_ns: 0,
            user_ns: 0,
            system_ns: 0,
            started_ticks,
        }
    }

    #[test]
    fn who_serves_is_no_parent_of_another_holder_and_the_oldest_of_several() {
        let of = |holders: &[Entry]| who_serves(holders).map(|entry| entry.pid);
        assert_eq!(of(&[holder(10, 1, 5)]), Ok(10));
        // The first process kept it open, and handed it on to what it forked for later clients.
        assert_eq!(of(&[holder(10, 1, 5), holder(13, 10, 9), holder(12, 10, 7)]), Ok(12));
        assert_eq!(of(&[holder(12, 10, 7), holder(13, 10, 7), holder(10, 1, 5)]), Ok(12));
        assert!(of(&[]).is_err());
    }
}
