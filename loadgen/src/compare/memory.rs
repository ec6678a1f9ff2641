//! How much of a server's memory is whose: connection buffers, and what an idle client takes. Pure.

use super::assembly::Parts;
use crate::sampler::HoldReading;
use crate::text::count;
use echo_contract::ready::{BufferPolicy, Ready};
use echo_contract::stats::Stats;

/// User and kernel memory together.
pub(super) fn of(reading: &HoldReading) -> Option<u64> {
    Some(reading.memory_bytes? + reading.memory_kernel_bytes?)
}

/// Connection buffers at the hold, and how that is known.
pub(super) fn buffers(parts: &Parts<'_>) -> (Option<u64>, String) {
    match &parts.target.ready {
        Some(ready) => by_policy(ready, held(parts), parts.stopped.stats.as_ref()),
        None => (None, "not known: the server was not started by loadgen".to_string()),
    }
}

/// Growth of the server's memory up to the hold, for each client that is then connected and silent.
pub(super) fn per_connection(parts: &Parts<'_>) -> Option<u64> {
    let growth = of(parts.readings.hold.as_ref()?)?.saturating_sub(of(&parts.readings.before)?);
    growth.checked_div(held(parts)?)
}

/// The kernel's part of it.
pub(super) fn kernel_per_connection(parts: &Parts<'_>) -> Option<u64> {
    let kernel = |reading: &HoldReading| reading.memory_kernel_bytes;
    let growth = kernel(parts.readings.hold.as_ref()?)?.saturating_sub(kernel(&parts.readings.before)?);
    growth.checked_div(held(parts)?)
}

/// Clients that are connected at the hold; none where each message has a connection of its own.
fn held(parts: &Parts<'_>) -> Option<u64> {
    (!parts.plan.workload.churn).then_some(parts.recorded.recorder.outcomes.connections.reached)
}

/// A buffer of the kit is written to from end to end when it is made, so it counts whole; a pool says itself what it took.
fn by_policy(ready: &Ready, held: Option<u64>, stats: Option<&Stats>) -> (Option<u64>, String) {
    let Some(policy) = ready.buffer_policy else {
        return (
            None,
            "not known: the server does not say whose its buffers are".to_string(),
        );
    };
    let words = policy.as_str();
    let number = match policy {
        BufferPolicy::PerConnection => held,
        BufferPolicy::PerWorker => Some(u64::from(ready.workers)),
        BufferPolicy::Pool => {
            return match stats.and_then(|stats| stats.buffers_bytes) {
                Some(bytes) => (Some(bytes), format!("{words}: STATS")),
                None => (
                    None,
                    format!("{words}: the server did not say in STATS how much it took"),
                ),
            };
        }
    };
    match number {
        Some(number) => (
            Some(number * ready.buffer_bytes),
            format!("{words}: {} of {} bytes", count(number), count(ready.buffer_bytes)),
        ),
        None => (None, format!("{words}: connections are not held")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready(policy: Option<BufferPolicy>) -> Ready {
        let line = r#"{"event":"ready","target":"t","pid":1,"address":"127.0.0.1:1","model":"event","runtime":"r",
            "runtime_version":"1","io_interface":"epoll","accept_model":"shared listener","workers":2,"buffer_bytes":16384,
            "backlog":1,"congestion_control":"cubic","nodelay":true,"max_connections":null,"idle_timeout_ms":null,
            "drain_timeout_ms":0,"work_ns":0,"work_source":null,"cpus":null,"nofile":1}"#;
        Ready {
            buffer_policy: policy,
            ..Ready::from_line(line).unwrap()
        }
    }

    #[test]
    fn buffers_are_counted_by_the_policy_or_by_the_server() {
        let stats = |buffers_bytes| Stats {
            buffers_bytes,
            ..Stats::default()
        };
        let of = |policy, stats: Option<&Stats>| by_policy(&ready(policy), Some(1000), stats);
        assert_eq!(
            of(Some(BufferPolicy::PerConnection), None),
            (Some(1000 * 16_384), "one per connection: 1,000 of 16,384 bytes".into())
        );
        assert_eq!(
            of(Some(BufferPolicy::PerWorker), None),
            (Some(2 * 16_384), "one per worker: 2 of 16,384 bytes".into())
        );
        assert_eq!(
            of(Some(BufferPolicy::Pool), Some(&stats(Some(262_144)))),
            (Some(262_144), "lent from a pool: STATS".into())
        );
    }

    #[test]
    fn what_is_not_known_has_a_reason() {
        assert_eq!(by_policy(&ready(Some(BufferPolicy::PerConnection)), None, None).0, None);
        for (policy, reason) in [
            (None, "not known: the server does not say whose its buffers are"),
            (
                Some(BufferPolicy::Pool),
                "lent from a pool: the server did not say in STATS how much it took",
            ),
        ] {
            assert_eq!(by_policy(&ready(policy), Some(9), None), (None, reason.to_string()));
        }
    }
}
