//! Does a percentile hide what it should show? Sentences for the reader; they make no trial invalid. Pure.
//!
//! A closed loop sends nothing while the server is silent, so a freeze costs one slow response per client, however many
//! would have been sent meanwhile (coordinated omission). An open loop shows it, as the distance of response from service.

use crate::record::{Latency, Measurement};
use crate::units::ns_to_ms;

/// A maximum so many times the p99, or a response so many times the service, is more than noise.
const APART: u64 = 10;
/// From here on response and service of an open loop are told to part.
const PARTED: u64 = 2;

/// What the reader of the percentiles must know; none when they can be taken as they are.
#[must_use]
pub fn warning(measurement: &Measurement) -> Option<String> {
    let latency = &measurement.latency_ns;
    if measurement.plan.workload.open_loop().is_none() {
        // Failed messages stand in the distribution at the timeout, and in the verdict with their share: they are no stall.
        let timeout_ns = measurement.plan.timeout_ms.saturating_mul(1_000_000);
        let is_timeout = measurement.counts.errors() > 0 && latency.response.max >= Some(timeout_ns);
        return closed_loop(&latency.response).filter(|_| !is_timeout);
    }
    open_loop(&latency.response, &latency.service)
}

/// The same of a closed loop's response times alone.
#[must_use]
pub fn closed_loop(response: &Latency) -> Option<String> {
    let (name, ns) = highest(response)?;
    let max = response.max.filter(|&max| max > APART * ns)?;
    Some(format!(
        "coordinated omission: the slowest response took {}, {} times the {name}. While the server is silent a closed loop \
         sends nothing, so its percentiles hide such a stall: measure it with --rate",
        ms(max),
        max / ns.max(1)
    ))
}

fn open_loop(response: &Latency, service: &Latency) -> Option<String> {
    let (name, planned) = highest(response)?;
    let (_, sent) = highest(service)?;
    (planned > PARTED * sent.max(1)).then(|| {
        let far = if planned > APART * sent.max(1) {
            "a closed loop would have hidden this (coordinated omission)"
        } else {
            "response is what users of the server would see"
        };
        format!(
            "response and service part: {name} {} from the plan, {} from the actual send. Messages waited in the plan because \
             no client was free or loadgen was late; {far}",
            ms(planned),
            ms(sent)
        )
    })
}

fn ms(ns: u64) -> String {
    format!("{:.2} ms", ns_to_ms(ns))
}

/// The highest percentile up to p99 that the sample carries.
fn highest(latency: &Latency) -> Option<(&'static str, u64)> {
    [("p99", latency.p99), ("p90", latency.p90), ("p50", latency.p50)]
        .into_iter()
        .find_map(|(name, value)| value.map(|value| (name, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(p50: u64, p99: u64, max: u64) -> Latency {
        Latency {
            count: 100_000,
            p50: Some(p50),
            p90: Some(p50),
            p99: Some(p99),
            max: Some(max),
            ..Latency::default()
        }
    }

    #[test]
    fn a_stall_that_a_closed_loop_hides_is_told() {
        // The negative control: 100 ms of silence every second, one connection, p99 0.11 ms, maximum 100 ms.
        let told = closed_loop(&latency(100_000, 110_000, 100_000_000)).unwrap();
        assert!(
            told.contains("coordinated omission") && told.contains("909 times the p99"),
            "{told}"
        );
        assert!(told.contains("--rate"), "{told}");
        assert_eq!(closed_loop(&latency(100_000, 110_000, 1_100_000)), None);
        assert_eq!(closed_loop(&Latency::default()), None);
    }

    #[test]
    fn a_message_that_ran_into_the_timeout_is_no_stall_that_is_hidden() {
        let mut measurement = Measurement::default();
        measurement.plan.timeout_ms = 5_000;
        measurement.latency_ns.response = latency(100_000, 110_000, 5_000_000_000);
        assert!(warning(&measurement).is_some());
        measurement.counts.timeout = 1;
        assert_eq!(warning(&measurement), None);
    }

    #[test]
    fn a_small_sample_is_judged_by_the_highest_percentile_it_carries() {
        let small = Latency {
            p99: None,
            ..latency(100_000, 0, 5_000_000)
        };
        assert!(closed_loop(&small).unwrap().contains("50 times the p90"));
    }

    #[test]
    fn an_open_loop_tells_when_response_and_service_part() {
        let service = latency(100_000, 200_000, 100_000_000);
        assert_eq!(open_loop(&latency(110_000, 300_000, 100_000_000), &service), None);
        let told = open_loop(&latency(110_000, 90_000_000, 100_000_000), &service).unwrap();
        assert!(
            told.contains("p99 90.00 ms from the plan, 0.20 ms from the actual send"),
            "{told}"
        );
        assert!(told.contains("closed loop would have hidden this"), "{told}");
    }
}
