//! The workload of the flags, on top of a preset or a file; contradictions are refused.

use super::as_ms;
use super::clients;
use super::file::from_file;
use crate::cmd::arguments::{Spacing, WorkloadArgs};
use crate::failure::Failure;
use crate::record::{Arrivals, OpenLoop, Pacing, Stop, Waiting, Workload};
use crate::suite::preset;

/// More clients than this are a typing mistake.
const MOST_CLIENTS: u64 = 1_000_000;
/// Deepest pipeline.
const MOST_PIPELINE: u64 = 4096;
/// Highest rate of an open loop, messages per second.
const MOST_RATE: u64 = 10_000_000;
/// Messages of a burst where the user does not say.
const BURST_SIZE: u64 = 10;
/// Largest burst.
const MOST_BURST_SIZE: u64 = 1_000_000;

/// The workload of the flags, on top of a preset or a file.
pub(in crate::cmd) fn workload(args: &WorkloadArgs) -> Result<Workload, Failure> {
    let mut workload = match &args.workload {
        None => preset::unnamed(50),
        Some(name) => match preset::find(name) {
            Some(preset) => preset.workload(),
            None => from_file(name)?,
        },
    };
    let base = workload.clone();
    if let Some(clients) = args.clients {
        workload.clients = clients_in_range(clients)?;
    }
    workload.active_clients = active(args, &workload)?;
    workload.stop = stop(args).unwrap_or(workload.stop);
    if let Some(size) = args.size {
        (workload.size_min_bytes, workload.size_max_bytes) = (size.min_bytes, size.max_bytes);
    }
    if let Some(pipeline) = args.pipeline {
        workload.pipeline = depth(pipeline)?;
    }
    workload.churn |= args.churn;
    if let Some(messages) = args.messages_per_connection {
        (workload.churn, workload.messages_per_connection) = carries(args, messages)?;
    }
    clients::apply(&args.client, args.size, &mut workload)?;
    if workload.is_job() {
        workload.warmup_ms = 0;
    } else if base.is_job() {
        workload.warmup_ms = preset::unnamed(1).warmup_ms;
    }
    if let Some(warmup) = args.warmup {
        if workload.is_job() && !warmup.is_zero() {
            return Err(Failure::usage(
                "--warmup needs a run that stops by time: a job of --messages or --total-messages counts from its \
                 first connect(). Leave --warmup out, or give --duration",
            ));
        }
        workload.warmup_ms = as_ms(warmup);
    }
    workload.pacing = pacing(args, &workload)?;
    if let (Pacing::OpenLoop(open), None) = (&workload.pacing, args.warmup) {
        workload.warmup_ms = workload.warmup_ms.max(open.ramp_ms);
    }
    if workload != base {
        workload.name = if args.workload.is_some() {
            format!("{} (changed)", base.name)
        } else {
            "custom".into()
        };
    }
    check_sense(&workload)?;
    Ok(workload)
}

/// What ends the run, where a flag says so; no two of them are taken together.
fn stop(args: &WorkloadArgs) -> Option<Stop> {
    let by_client = args.messages.map(Stop::MessagesPerClient);
    let by_total = args.total_messages.map(Stop::TotalMessages);
    let by_time = args.duration.map(|duration| Stop::AfterMs(as_ms(duration)));
    by_time.or(by_total).or(by_client)
}

/// How many of the clients send; none where all do.
fn active(args: &WorkloadArgs, workload: &Workload) -> Result<Option<u32>, Failure> {
    let asked = args.active_clients.or(workload.active_clients.map(u64::from));
    let Some(active) = asked else { return Ok(None) };
    match u32::try_from(active) {
        Ok(active) if (1..=workload.clients).contains(&active) => Ok(Some(active)),
        _ => Err(Failure::usage(format!(
            "--active-clients {active} is not between 1 and the {} clients that connect",
            workload.clients
        ))),
    }
}

/// When messages leave: what the flags say on top of the workload's own pacing.
fn pacing(args: &WorkloadArgs, workload: &Workload) -> Result<Pacing, Failure> {
    let before = workload.open_loop();
    let Some(rate_per_s) = args.rate.or(before.map(|open| open.rate_per_s)) else {
        let useless = [
            args.arrivals.map(|_| "--arrivals"),
            args.burst_size.map(|_| "--burst-size"),
            args.ramp.map(|_| "--ramp"),
            // How to wait for answers is a closed loop's question too.
            args.pacing
                .filter(|pacing| *pacing == Waiting::Spin)
                .map(|_| "--pacing spin"),
        ];
        return match useless.into_iter().flatten().next() {
            Some(flag) => Err(Failure::usage(format!(
                "{flag} says how messages of a plan leave, and a closed loop has none: give --rate N (messages per second \
                 of all clients together), or leave {flag} out"
            ))),
            None => Ok(Pacing::ClosedLoop),
        };
    };
    if rate_per_s > MOST_RATE {
        return Err(Failure::usage(format!(
            "--rate {rate_per_s} is more than {MOST_RATE} messages/s"
        )));
    }
    let arrivals = match (args.arrivals, before.map(|open| open.arrivals)) {
        (Some(Spacing::Constant), _) | (None, None) => Arrivals::Constant,
        (Some(Spacing::Poisson), _) => Arrivals::Poisson,
        (Some(Spacing::Burst), _) => Arrivals::Burst(burst_size(args.burst_size.unwrap_or(BURST_SIZE))?),
        (None, Some(arrivals)) => arrivals,
    };
    let arrivals = match (arrivals, args.burst_size) {
        (Arrivals::Burst(_), Some(messages)) => Arrivals::Burst(burst_size(messages)?),
        (Arrivals::Constant | Arrivals::Poisson, Some(messages)) => {
            return Err(Failure::usage(format!(
                "--burst-size {messages} needs --arrivals burst: give both, or neither"
            )));
        }
        (arrivals, None) => arrivals,
    };
    Ok(Pacing::OpenLoop(OpenLoop {
        rate_per_s,
        arrivals,
        ramp_ms: args.ramp.map(as_ms).or(before.map(|open| open.ramp_ms)).unwrap_or(0),
        waiting: args
            .pacing
            .or(before.map(|open| open.waiting))
            .unwrap_or(Waiting::Hybrid),
    }))
}

/// Whether each message has a connection of its own, else how many one carries.
fn carries(args: &WorkloadArgs, messages: u64) -> Result<(bool, Option<u64>), Failure> {
    match messages {
        // A file says 0 where a flag could not.
        0 => Err(Failure::usage(
            "--messages-per-connection 0 would send nothing: give at least 1",
        )),
        1 => Ok((true, None)),
        _ if args.churn => Err(Failure::usage(format!(
            "--churn is --messages-per-connection 1, and {messages} is something else: leave one of both out"
        ))),
        _ => Ok((false, Some(messages))),
    }
}

fn burst_size(messages: u64) -> Result<u32, Failure> {
    u32::try_from(messages)
        .ok()
        .filter(|&messages| (1..=MOST_BURST_SIZE).contains(&u64::from(messages)))
        .ok_or_else(|| {
            Failure::usage(format!(
                "--burst-size {messages} is not between 1 and {MOST_BURST_SIZE}"
            ))
        })
}

fn depth(pipeline: u64) -> Result<u32, Failure> {
    u32::try_from(pipeline)
        .ok()
        .filter(|&depth| u64::from(depth) <= MOST_PIPELINE)
        .ok_or_else(|| Failure::usage(format!("--pipeline {pipeline} is more than {MOST_PIPELINE}")))
}

fn clients_in_range(clients: u64) -> Result<u32, Failure> {
    u32::try_from(clients)
        .ok()
        .filter(|&clients| (1..=MOST_CLIENTS).contains(&u64::from(clients)))
        .ok_or_else(|| Failure::usage(format!("--clients {clients} is not between 1 and {MOST_CLIENTS}")))
}

/// Refuses workloads that contradict themselves.
fn check_sense(workload: &Workload) -> Result<(), Failure> {
    if workload.churn && workload.pipeline > 1 {
        return Err(Failure::usage(format!(
            "--churn and --pipeline {} exclude each other: a connection that carries one message has no pipeline",
            workload.pipeline
        )));
    }
    if let Some(carried) = workload
        .messages_per_connection
        .filter(|&carried| carried < u64::from(workload.pipeline))
    {
        return Err(Failure::usage(format!(
            "--pipeline {} is deeper than --messages-per-connection {carried}: no connection would ever have so many under way",
            workload.pipeline
        )));
    }
    match (workload.open_loop(), workload.active_clients) {
        (Some(open), _) => check_open_loop(workload, open)?,
        (None, Some(active)) => {
            return Err(Failure::usage(format!(
                "--active-clients {active} says whom a plan deals its messages to, and a closed loop has none: give --rate N, or \
                 leave --active-clients out"
            )));
        }
        (None, None) => {}
    }
    match workload.stop {
        Stop::TotalMessages(total) if total < u64::from(workload.clients) => Err(Failure::usage(format!(
            "--total-messages {total} is less than one for each of {} clients: some would never send. Give at least \
             {0}, or fewer --clients",
            workload.clients
        ))),
        Stop::MessagesPerClient(0) | Stop::TotalMessages(0) => {
            Err(Failure::usage("a job of 0 messages measures nothing: give at least 1"))
        }
        Stop::AfterMs(0) => Err(Failure::usage("--duration 0 measures nothing: give at least 100ms")),
        Stop::AfterMs(_) | Stop::MessagesPerClient(_) | Stop::TotalMessages(_) => Ok(()),
    }
}

/// A plan of a rate lasts for a time; a job ends when its last message is answered. Both together say one thing twice.
fn check_open_loop(workload: &Workload, open: &OpenLoop) -> Result<(), Failure> {
    let rate = open.rate_per_s;
    match workload.stop {
        Stop::AfterMs(ms) if open.ramp_ms >= workload.warmup_ms + ms => Err(Failure::usage(format!(
            "--ramp {}ms would not end before the run does ({} ms warm-up + {ms} ms): --rate {rate} would never be \
             reached. Give a longer --duration, or a shorter --ramp",
            open.ramp_ms, workload.warmup_ms
        ))),
        Stop::AfterMs(_) => Ok(()),
        Stop::MessagesPerClient(_) | Stop::TotalMessages(_) => {
            let messages = workload.messages_planned().unwrap_or_default();
            let (flag, value) = match workload.stop {
                Stop::MessagesPerClient(messages) => ("--messages", messages),
                _ => ("--total-messages", messages),
            };
            Err(Failure::usage(format!(
                "--rate {rate} and {flag} {value} exclude each other: a plan deals its messages to whichever client is \
                 free, and lasts for a time. {messages} messages at {rate}/s are --duration {}ms",
                (u128::from(messages) * 1000).div_ceil(u128::from(rate))
            )))
        }
    }
}
