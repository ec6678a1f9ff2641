//! Waiting until the kernel's table of tracked connections has room for a trial, on a network that has such a table.

use crate::record::{GateName, Plan, Reason};
use crate::sampler::network::Tracking;
use crate::suite::tracked::{self, REMEMBERED};
use crate::text::count;
use std::thread;
use std::time::{Duration, Instant};

/// How often the table is read.
const LOOK: Duration = Duration::from_millis(200);
/// Longer no closed connection keeps its entry; what is left then is others', and does not go by waiting.
const PATIENCE: Duration = REMEMBERED.saturating_add(Duration::from_secs(15));

/// Returns when the trial's connections fit, when the user wants to stop, or when waiting is of no use any more. `say` hears why
/// it waits, once.
pub(super) fn wait_for_room(
    plan: &Plan,
    read: &dyn Fn() -> Option<Tracking>,
    interrupted: &dyn Fn() -> bool,
    say: &dyn Fn(String),
) {
    let wanted = tracked::connections(plan);
    let begun = Instant::now();
    let mut is_told = false;
    while let Some(table) = read() {
        // More than all of it never fits.
        let needed = wanted.min(table.max / 10 * 9);
        if table.room() >= needed || interrupted() || begun.elapsed() >= PATIENCE {
            return;
        }
        if !std::mem::replace(&mut is_told, true) {
            say(format!(
                "waiting up to two minutes before {} under {}: it opens up to {} connections, and of the {} that the kernel can \
                 track (net.netfilter.nf_conntrack_max) {} are free; a private network needs no such wait",
                plan.target,
                plan.workload.name,
                count(wanted),
                count(table.max),
                count(table.room())
            ));
        }
        thread::sleep(LOOK);
    }
}

/// Adds the cause to what it explains: connections that could not be had, segments that were lost.
pub(super) fn name_cause(reasons: &mut [Reason], cause: &str) {
    const EXPLAINED: [GateName; 5] = [
        GateName::Incomplete,
        GateName::Connections,
        GateName::Errors,
        GateName::ListenOverflows,
        GateName::Retransmits,
    ];
    for reason in reasons {
        if EXPLAINED.iter().any(|gate| reason.gate == *gate) {
            reason.text = format!("{}; {cause}", reason.text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{Stop, Workload};
    use std::cell::{Cell, RefCell};

    fn churn(messages: u64) -> Plan {
        Plan {
            target: "thread".into(),
            workload: Workload {
                name: "churn".into(),
                clients: 100,
                churn: true,
                stop: Stop::TotalMessages(messages),
                ..Workload::default()
            },
            ..Plan::default()
        }
    }

    /// Waits before a table that empties by `each` with every reading; gives the readings and what was said.
    fn waited(plan: &Plan, full: u64, each: u64, stop_after: u32) -> (u32, Vec<String>) {
        let (readings, said) = (Cell::new(0), RefCell::new(Vec::new()));
        let read = || {
            let before = readings.replace(readings.get() + 1);
            Some(Tracking {
                count: full.saturating_sub(each * u64::from(before)),
                max: 262_144,
            })
        };
        wait_for_room(plan, &read, &|| readings.get() >= stop_after, &|text| {
            said.borrow_mut().push(text)
        });
        (readings.get(), said.into_inner())
    }

    #[test]
    fn a_full_table_is_named_where_connections_failed_and_nowhere_else() {
        let mut reasons = vec![
            Reason::new(GateName::Connections, 1.0, 0.0, "97 of 100 clients were connected"),
            Reason::new(GateName::ForeignLoad, 9.0, 3.0, "other programs"),
        ];
        name_cause(&mut reasons, "the table is full");
        let texts: Vec<&str> = reasons.iter().map(|reason| reason.text.as_str()).collect();
        assert_eq!(
            texts,
            ["97 of 100 clients were connected; the table is full", "other programs"]
        );
    }

    #[test]
    fn a_trial_that_fits_does_not_wait() {
        assert_eq!(waited(&churn(6_000), 200_000, 0, 9), (1, vec![]));
    }

    #[test]
    fn one_that_does_not_fit_waits_until_it_does_and_says_why_once() {
        let (readings, said) = waited(&churn(6_000), 260_000, 2_000, 9);
        // 6,100 fit from 256,044 entries on, which are left at the third reading.
        assert_eq!((readings, said.len()), (3, 1), "{said:?}");
        assert!(
            said[0].contains("thread under churn")
                && said[0].contains("up to 6,100 connections")
                && said[0].contains("2,144 are free"),
            "{said:?}"
        );
    }

    #[test]
    fn a_user_who_wants_to_stop_is_not_kept_waiting() {
        assert_eq!(waited(&churn(6_000), 262_144, 0, 2).0, 2);
    }

    #[test]
    fn what_never_fits_begins_with_an_empty_table_and_without_a_table_nothing_waits() {
        assert_eq!(waited(&churn(1_000_000), 26_000, 0, 9).0, 1);
        wait_for_room(&churn(6_000), &|| None, &|| panic!("nothing to wait for"), &|text| {
            panic!("{text}")
        });
    }
}
