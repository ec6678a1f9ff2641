//! `loadgen list`: what can be measured, under which workloads, and in which suites.

use crate::cmd::arguments::ServerArgs;
use crate::cmd::resolve::servers::servers;
use crate::failure::Failure;
use crate::record::{External, Stop, Workload};
use crate::subject;
use crate::suite::preset::PRESETS;
use crate::suite::suites::{FULL, SUITES};
use crate::text::minutes;
use comfy_table::{ContentArrangement, Table, presets};
use echo_contract::catalog::{Selection, TARGETS};

/// All lists as text; the user's own servers where some are named.
///
/// # Errors
/// When such a server is named in a way that cannot be read.
pub fn run(own: &ServerArgs) -> Result<String, Failure> {
    let mut text = format!("Targets (* in the default comparison)\n{}\n", targets());
    let own = servers(own)?;
    if !own.is_empty() {
        text += &format!("\nYour own servers\n{}\n", own_servers(&own));
    }
    Ok(text
        + &format!(
            "\nWorkloads\n{}\n\nSuites (compare --suite NAME)\n{}\n",
            workloads(),
            suites()
        ))
}

fn own_servers(own: &[External]) -> Table {
    let mut table = table(["target", "model", "command", "what it is"]);
    for server in own {
        let missing = subject::what_is_missing(server);
        table.add_row([
            server.name.clone(),
            server.model.as_str().to_string(),
            server.command.join(" "),
            missing.or(server.note.clone()).unwrap_or_default(),
        ]);
    }
    table
}

fn targets() -> Table {
    let mut table = table(["target", "model", "runtime", "io", "port", "what it is"]);
    for target in TARGETS {
        let star = if target.selection == Selection::Default {
            " *"
        } else {
            ""
        };
        table.add_row([
            format!("{}{star}", target.name),
            target.model.as_str().to_string(),
            target.runtime.to_string(),
            target.io_interface.to_string(),
            target.port.to_string(),
            target.about.to_string(),
        ]);
    }
    table
}

fn workloads() -> Table {
    let mut table = table(["workload", "what the clients do", "what it shows"]);
    for preset in PRESETS {
        table.add_row([
            preset.name.to_string(),
            describe(&preset.workload()),
            preset.about.to_string(),
        ]);
    }
    table
}

fn suites() -> Table {
    let mut table = table(["suite", "workloads", "rounds", "within", "what it shows"]);
    for suite in SUITES {
        let workloads: Vec<String> = suite.workloads().into_iter().map(|workload| workload.name).collect();
        table.add_row([
            suite.name.to_string(),
            workloads.join(", "),
            suite.rounds.to_string(),
            minutes(suite.budget()),
            suite.about.to_string(),
        ]);
    }
    let names: Vec<&str> = SUITES.iter().map(|suite| suite.name).collect();
    let about = "all of them, one after another, each in a folder of its own inside one";
    table.add_row([FULL, &names.join(", "), "", "", about]);
    table
}

/// `1000 clients x 10 = 10,000 messages`, `1000 clients, closed loop, 1 s warm-up + 3 s`.
fn describe(workload: &Workload) -> String {
    let clients = workload.clients;
    match workload.stop {
        Stop::MessagesPerClient(messages) => format!("{clients} clients x {messages} messages, 64 B"),
        Stop::TotalMessages(total) => format!("{clients} clients, {total} messages in all"),
        Stop::AfterMs(ms) => {
            let seconds = |ms: u64| std::time::Duration::from_millis(ms).as_secs_f64();
            let churn = if workload.churn {
                ", a connection per message"
            } else {
                ""
            };
            format!(
                "{clients} clients, {} s + {} s{churn}",
                seconds(workload.warmup_ms),
                seconds(ms)
            )
        }
    }
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(header);
    table
}

#[cfg(test)]
mod tests {
    use super::ServerArgs;

    #[test]
    fn every_target_workload_and_suite_is_listed() {
        let list = super::run(&ServerArgs::default()).unwrap();
        let names = echo_contract::catalog::TARGETS.iter().map(|target| target.name);
        let names = names.chain(super::SUITES.iter().map(|suite| suite.name));
        for name in names.chain(super::PRESETS.iter().map(|preset| preset.name)) {
            assert!(list.contains(name), "{name} is missing in\n{list}");
        }
    }
}
