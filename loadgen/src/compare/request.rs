//! From a plan to the server that it is for: how it is started, what is sent to it first, where clients come from.

use super::trial::Context;
use crate::failure::Failure;
use crate::record::{Beside, Origin, Plan};
use crate::subject::{self, Request, Server};
use crate::workload::opening::Opening;
use crate::workload::payload::Payload;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// Addresses that a connection for each message starts from: their halves of the ports last for two seconds at 130,000/s.
const CHURN_ADDRESSES: u8 = 8;

/// The plan, completed by what only the server that was found tells.
pub(super) fn as_met(plan: &Plan, server: &Server) -> Plan {
    Plan {
        // Where a server runs that was there before is not ours to say: a thread that never sleeps could take its CPU.
        looks_for_answers: plan.looks_for_answers && server.origin() == Origin::Started,
        source_addresses: source_addresses(plan, server.addresses()),
        ..plan.clone()
    }
}

/// The bytes of the workload, and those that ask for the first echo.
pub(super) fn what_is_sent(plan: &Plan) -> Result<(Payload, Opening), Failure> {
    let workload = &plan.workload;
    let file = subject::read_payload(&workload.payload)?;
    let payload = Payload::of(&workload.payload, plan.seed, file);
    let opening = Opening::of(workload, plan.seed, &payload);
    Ok((payload, opening))
}

/// Where connections start from. A workload that opens them all the time is given more than one address of loopback where nobody
/// said otherwise: of an address's ports the kernel finds a half at once, and then looks through all of them for each
/// connection until those of a second ago may be used again.
pub(super) fn source_addresses(plan: &Plan, servers: &[SocketAddr]) -> Vec<Ipv4Addr> {
    let is_v4_loopback = |ip: IpAddr| matches!(ip, IpAddr::V4(address) if address.is_loopback());
    let is_here = (servers.iter()).all(|server| is_v4_loopback(server.ip().to_canonical()));
    if plan.workload.connection_carries().is_some() && plan.source_addresses.is_empty() && is_here {
        (1..=CHURN_ADDRESSES)
            .map(|last| Ipv4Addr::new(127, 0, 0, last))
            .collect()
    } else {
        plan.source_addresses.clone()
    }
}

/// The server that the plan is for.
pub(super) fn request<'a>(
    plan: &'a Plan,
    context: &Context<'_>,
    workers: Option<u32>,
    opening: &'a Opening,
    arguments: &'a [String],
) -> Request<'a> {
    Request {
        target: &plan.target,
        external: plan.external.as_ref(),
        start: plan.start,
        workers,
        server_cpus: &plan.placement.server_cpus,
        connect_timeout: Duration::from_millis(plan.connect_timeout_ms),
        opening: Some(opening),
        source_addresses: &plan.source_addresses,
        arguments,
        reach: plan.reach,
        no_build: context.no_build,
        counts_syscalls: plan.counting,
    }
}

/// The flags of a server that works for each read.
pub(super) fn work(plan: &Plan) -> Vec<String> {
    let for_beside = plan.workload.beside.and_then(|beside| beside.work_ns);
    match (plan.work_ns, for_beside) {
        (_, Some(work_ns)) => vec![
            "--work".to_owned(),
            format!("{work_ns}ns"),
            "--work-source".to_owned(),
            Beside::SOURCE.to_string(),
        ],
        (None | Some(0), None) => Vec::new(),
        (Some(work_ns), None) => vec!["--work".to_owned(), format!("{work_ns}ns")],
    }
}
