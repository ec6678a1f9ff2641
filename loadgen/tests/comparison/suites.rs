//! Suites by name and of a file: what they run, what they store, what they say, and how they are gone on with.

use crate::command::{compare, compare_at, here, only_folder};
use crate::golden::{expect, golden};
use crate::synthetic::{Fault, Synthetic};
use loadgen::cmd::compare::Here;
use loadgen::cmd::publish::PublishArgs;
use loadgen::cmd::report::ReportArgs;
use loadgen::failure::Exit;
use loadgen::measurement::store::{Store, Stored};
use loadgen::suite::matrix::SuiteFile;
use loadgen::suite::suites::SUITES;
use std::fs;
use std::path::{Path, PathBuf};

const TARGETS: [&str; 2] = ["--targets", "fork,thread,event-tokio"];

fn opened(folder: &Path) -> (SuiteFile, Store) {
    let store = Store::open(folder).unwrap();
    (store.read_json("suite.json").unwrap(), store)
}

fn planned_rate(stored: &Stored) -> Option<u64> {
    let plan = &stored.measurement.plan;
    plan.workload.open_loop().map(|open| open.rate_per_s)
}

/// The text without the seed and the times of the clock.
fn steadied(text: &str) -> String {
    let is_of_the_clock = |line: &&str| !(line.starts_with("Started ") || line.contains("time budget"));
    text.lines()
        .filter(is_of_the_clock)
        .map(|line| format!("{line}\n"))
        .collect()
}

#[test]
fn each_suite_says_what_it_would_run_and_for_how_long() {
    let mut all = String::new();
    for suite in SUITES {
        let folder = tempfile::tempdir().unwrap();
        let mut trials = Synthetic::new();
        let words = ["--suite", suite.name, "--dry-run", "--seed", "7"];
        let (out, ended) = compare(folder.path(), &[&words[..], &TARGETS].concat(), &mut trials);
        ended.unwrap();
        assert!(trials.ran.is_empty() && !folder.path().join("results").exists());
        let head = format!("suite {}, seed 7", suite.name);
        assert!(
            out.starts_with(&head) && out.contains("targets fork, thread, event-tokio"),
            "{out}"
        );
        all += &format!("{out}\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let words = ["--suite", "full", "--dry-run", "--seed", "7"];
    let (out, ended) = compare(folder.path(), &[&words[..], &TARGETS].concat(), &mut Synthetic::new());
    ended.unwrap();
    assert!(
        out.contains(&format!("{} suites one after another: about ", SUITES.len())),
        "{out}"
    );
    expect(&golden("suites/dry-run.txt"), &(all + &out));
}

#[test]
fn loads_are_shares_of_what_each_target_reached_and_stay_that_after_an_interruption() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["--suite", "load", "--rounds", "2", "--seed", "7"];
    let words = [&words[..], &TARGETS].concat();
    // Three rounds of four trials saturate; it stops in the fourth trial of a load.
    let mut first = Synthetic::new();
    first.interrupt_in = Some(3 * 4 + 4);
    let (_, ended) = compare(folder.path(), &words, &mut first);
    assert_eq!(ended.unwrap_err().exit, Exit::Interrupted);
    let made = only_folder(folder.path());
    let (file, store) = opened(&made);
    let rates = file.suite.load.clone().unwrap().saturated_per_s;
    assert_eq!(rates.len(), 3);
    assert_eq!(store.records().len(), 3 * 4 + 3);
    let mut rest = Synthetic::new();
    let (_, ended) = compare(folder.path(), &["--resume", made.to_str().unwrap()], &mut rest);
    ended.unwrap();
    assert_eq!(rest.ran.len(), 2 * 4 * 4 - 3);
    let (file, store) = opened(&made);
    assert_eq!(file.suite.load.unwrap().saturated_per_s, rates);
    let mut offered = 0;
    for stored in store.records() {
        let plan = &stored.measurement.plan;
        let Some(percent) = plan.workload.percent_of_saturated else {
            assert!(planned_rate(stored).is_none());
            continue;
        };
        offered += 1;
        assert_eq!(
            planned_rate(stored),
            Some(rates[&plan.target] * u64::from(percent) / 100)
        );
    }
    assert_eq!(offered, 2 * 4 * 4);
}

#[test]
fn a_suite_that_is_interrupted_while_it_saturates_goes_on_to_the_same_rates() {
    let words = ["--suite", "load", "--rounds", "1", "--seed", "7"];
    let words = [&words[..], &TARGETS].concat();
    let rates = |folder: &Path| opened(folder).0.suite.load.unwrap().saturated_per_s;
    let (whole, halved) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    compare(whole.path(), &words, &mut Synthetic::new()).1.unwrap();
    let mut first = Synthetic::new();
    first.interrupt_in = Some(6);
    compare(halved.path(), &words, &mut first).1.unwrap_err();
    let made = only_folder(halved.path());
    assert!(rates(&made).is_empty());
    compare(
        halved.path(),
        &["--resume", made.to_str().unwrap()],
        &mut Synthetic::new(),
    )
    .1
    .unwrap();
    assert_eq!(rates(&made), rates(&only_folder(whole.path())));
}

#[test]
fn a_target_that_cannot_be_saturated_is_offered_no_load_and_the_report_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::with(|plan, _| match plan.target.as_str() {
        "fork" => Fault::ServerDied,
        _ => Fault::None,
    });
    let words = ["--suite", "load", "--rounds", "1", "--seed", "7"];
    let (out, _) = compare(folder.path(), &[&words[..], &TARGETS].concat(), &mut trials);
    assert!(
        !trials.ran.iter().any(|(name, _)| name.starts_with("fork load")),
        "{:?}",
        trials.told()
    );
    assert!(trials.ran.iter().any(|(name, _)| name == "thread load-95"));
    let words: Vec<&str> = out.split_whitespace().collect();
    assert!(words.join(" ").contains("no load was offered: fork"), "{out}");
}

/// The folder of a suite after six rounds.
fn six_rounds(suite: &str, folder: &Path) -> (String, PathBuf) {
    let words = ["--suite", suite, "--rounds", "6", "--seed", "7", "--budget", "24h"];
    let (out, ended) = compare(folder, &[&words[..], &TARGETS].concat(), &mut Synthetic::new());
    ended.unwrap();
    (out, only_folder(folder))
}

#[test]
fn what_is_varied_has_charts_and_tables_in_every_report() {
    for (suite, charts, tables) in [
        (
            "load",
            &["response-over-load"][..],
            &["Response p99 over offered load"][..],
        ),
        (
            "clients",
            &["over-clients", "memory-over-connections"],
            &["Messages/s over clients", "CPU us per message over clients"],
        ),
        (
            "crowd",
            &["memory-of-a-crowd", "response-of-a-crowd"],
            &[
                "Memory, user and kernel over connections",
                "Response p99 over connections",
            ],
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (out, made) = six_rounds(suite, folder.path());
        let read = |name: &str| fs::read_to_string(made.join(name)).unwrap();
        let (readme, page) = (read("README.md"), read("report.html"));
        for chart in charts {
            assert!(readme.contains(&format!("({chart}.svg)")), "{suite}: {chart}");
            assert!(page.contains(&format!("<figure id=\"{chart}\"")), "{suite}: {chart}");
            expect(
                &golden(&format!("suites/{suite}/{chart}.svg")),
                &read(&format!("{chart}.svg")),
            );
        }
        for table in tables {
            assert!(readme.contains(&format!("\n{table}")), "{suite}: {table}");
            assert!(page.contains(table), "{suite}: {table}");
        }
        let shown = out.lines().filter(|line| !line.starts_with("all tables: "));
        assert!(
            shown.clone().count() <= 39 && shown.clone().all(|line| line.chars().count() <= 100),
            "{out}"
        );
        // Above the first blank line is how long it took.
        let shown = shown.skip_while(|line| !line.is_empty());
        let shown: String = shown.map(|line| format!("{line}\n")).collect();
        expect(&golden(&format!("suites/{suite}/screen.txt")), &shown);
        expect(&golden(&format!("suites/{suite}/README.md")), &steadied(&readme));
    }
}

#[test]
fn no_line_goes_through_a_load_whose_percentiles_do_not_stand() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::with(|plan, _| match plan.workload.name.as_str() {
        "load-80" => Fault::ForeignLoad,
        _ => Fault::None,
    });
    let words = ["--suite", "load", "--rounds", "2", "--seed", "7", "--targets", "thread"];
    compare(folder.path(), &words, &mut trials).1.unwrap();
    let made = only_folder(folder.path());
    let readme = fs::read_to_string(made.join("README.md")).unwrap();
    let table = readme.split("Response p50 over offered load").nth(1).unwrap();
    let row = table.lines().find(|line| line.starts_with("| thread |")).unwrap();
    let cells: Vec<&str> = row.split('|').map(str::trim).collect();
    assert_eq!(cells[4], "n/a", "{row}");
    assert!(cells[3] != "n/a" && cells[5] != "n/a", "{row}");
    // Two pieces in each of two lines, the second of which is a point.
    let chart = fs::read_to_string(made.join("response-over-load.svg")).unwrap();
    let paths: Vec<&str> = chart
        .split(" d=\"")
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap())
        .filter(|path| !path.starts_with("M0")) // Points, and the lines of the legend.
        .collect();
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert!(paths.iter().all(|path| path.matches('M').count() == 2), "{paths:?}");
}

#[test]
fn all_suites_run_one_after_another_and_are_gone_on_with_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "--suite",
        "full",
        "--rounds",
        "1",
        "--seed",
        "7",
        "--targets",
        "fork,thread",
    ];
    let mut first = Synthetic::new();
    // Five workloads of three trials and four that count are the first suite; it stops in the second.
    first.interrupt_in = Some(5 * 3 + 4 + 2);
    let (_, ended) = compare(folder.path(), &words, &mut first);
    let failure = ended.unwrap_err();
    let made = only_folder(folder.path());
    assert_eq!(failure.exit, Exit::Interrupted);
    assert!(
        failure.text.ends_with(&format!("--resume {}", made.display())),
        "{failure}"
    );
    let index = || fs::read_to_string(made.join("README.md")).unwrap();
    let row = |suite: &str| {
        index()
            .lines()
            .find(|line| line.starts_with(&format!("| [{suite}]")))
            .unwrap()
            .to_owned()
    };
    assert!(row("default").contains("| done |"), "{}", index());
    assert!(row("seed").contains("| interrupted |"), "{}", index());
    assert!(row("load").contains("| not begun |"), "{}", index());
    let (out, ended) = compare(
        folder.path(),
        &["--resume", made.to_str().unwrap(), "--dry-run"],
        &mut Synthetic::new(),
    );
    ended.unwrap();
    assert!(
        out.contains("done already") && out.contains(&format!("{} suites one after another", SUITES.len() - 1)),
        "{out}"
    );
    let mut rest = Synthetic::new();
    compare(folder.path(), &["--resume", made.to_str().unwrap()], &mut rest)
        .1
        .unwrap();
    assert!(
        rest.ran.iter().all(|(_, place)| place.suite != "default"),
        "{:?}",
        rest.told()
    );
    for suite in SUITES {
        assert!(row(suite.name).contains("| done |"), "{}", index());
        let (file, store) = opened(&made.join(suite.name));
        assert_eq!(file.suite.name, suite.name);
        assert!(!store.records().is_empty() && made.join(suite.name).join("report.html").is_file());
    }
    let before = index();
    let mut told = Vec::new();
    let args = ReportArgs {
        folder: made.clone(),
        full: false,
    };
    loadgen::cmd::report::run(&args, &mut told).unwrap();
    assert_eq!(index(), before);
    assert!(String::from_utf8(told).unwrap().contains("suite crowd"));
    let refused = loadgen::cmd::publish::run(&PublishArgs { folder: made.clone() }, &mut Vec::new()).unwrap_err();
    assert!(refused.text.contains("holds several suites"), "{refused}");
}

#[test]
fn what_this_machine_has_too_few_descriptors_for_is_left_out_and_told() {
    let mut here = here();
    here.machine.nofile_hard = 4096;
    let folder = tempfile::tempdir().unwrap();
    let words = ["--suite", "clients", "--rounds", "1", "--seed", "7"];
    let mut trials = Synthetic::new();
    let (out, ended) = compare_at(folder.path(), &[&words[..], &TARGETS].concat(), &mut trials, &here);
    ended.unwrap();
    let told = "clients-10000 was left out: 10,000 clients need 10,064 descriptors";
    let words: Vec<&str> = out.split_whitespace().collect();
    assert!(words.join(" ").contains(told), "{out}");
    let made = only_folder(folder.path());
    assert!(fs::read_to_string(made.join("README.md")).unwrap().contains(told));
    assert!(trials.ran.iter().all(|(name, _)| !name.contains("10000")));
    // Where nothing is left, nothing begins.
    let refused = |here: &Here, words: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let failure = compare_at(folder.path(), words, &mut Synthetic::new(), here)
            .1
            .unwrap_err();
        assert!(!folder.path().join("results").exists());
        failure
    };
    let failure = refused(&here, &["--workloads", "steady", "--clients", "5000"]);
    assert_eq!(failure.exit, Exit::Usage);
    assert!(
        failure
            .text
            .contains("no workload can be had here: steady (changed): 5,000 clients"),
        "{failure}"
    );
}

fn example() -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    root.join("examples/suite.toml").display().to_string()
}

#[test]
fn the_suite_of_the_examples_runs() {
    let folder = tempfile::tempdir().unwrap();
    let mut trials = Synthetic::new();
    let (_, ended) = compare(folder.path(), &["--suite", &example(), "--seed", "7"], &mut trials);
    ended.unwrap();
    let made = only_folder(folder.path());
    assert!(made.to_str().unwrap().ends_with("-chat"), "{}", made.display());
    let (file, _) = opened(&made);
    assert_eq!(file.suite.targets, ["fork", "thread", "event-tokio"]);
    assert_eq!((file.suite.rounds_max, file.suite.budget_ms), (6, 300_000));
    let told: Vec<(&str, u32, Option<u32>)> = (file.suite.workloads.iter())
        .map(|workload| (workload.name.as_str(), workload.clients, workload.active_clients))
        .collect();
    assert_eq!(
        told,
        [("paced", 200, None), ("chatty", 200, None), ("sleepy", 500, Some(20))]
    );
    assert_eq!(file.suite.workloads[1].size_max_bytes, 512);
    // What is typed goes before what the file says.
    let folder = tempfile::tempdir().unwrap();
    let words = [
        "--suite",
        &example(),
        "--targets",
        "thread",
        "--rounds",
        "1",
        "--dry-run",
    ];
    let (out, _) = compare(folder.path(), &words, &mut Synthetic::new());
    assert!(
        out.contains("at most 1 round within") && out.contains("targets thread\n"),
        "{out}"
    );
}

/// What is said to a suite file.
fn said_to(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    fs::write(&path, text).unwrap();
    let words = ["--suite", path.to_str().unwrap(), "--dry-run"];
    match compare(folder.path(), &words, &mut Synthetic::new()) {
        (out, Ok(())) => out,
        (_, Err(failure)) => {
            assert_eq!(failure.exit, Exit::Usage);
            assert!(failure.text.contains("mine.toml"), "{failure}");
            failure.text
        }
    }
}

#[test]
fn a_wrong_suite_file_is_told_the_file_the_line_and_the_word() {
    for (text, told) in [
        (
            "name = \"a\"\nworkloads = [\"light\"]\nround = 3\n",
            &["line 3", "`round`"][..],
        ),
        (
            "name = \"a\"\n\nworkloads = [\n  \"light\",\n  { name = \"b\", client = 3 },\n]\n",
            &["line 5", "`client`"],
        ),
        (
            "name = \"a\"\nworkloads = [7]\n",
            &["line 2", "the name of a workload, or a table"],
        ),
        ("workloads = [\"light\"]\n", &["`name`"]),
        (
            "name = \"a\"\nworkloads = [\"lihgt\"]\n",
            &["`lihgt` is none: known are light, medium"],
        ),
        (
            "name = \"a\"\nworkloads = [{ clients = 3 }]\n",
            &["a table needs a name"],
        ),
        (
            "name = \"a\"\nworkloads = [{ name = \"b\", rate = \"quick\" }]\n",
            &["workload `b`: rate: 'quick'"],
        ),
        (
            "name = \"a\"\nworkloads = [\"light\", \"light\"]\n",
            &["two workloads are named `light`"],
        ),
        ("name = \"a\"\n", &["it has no workloads"]),
        (
            "name = \"load\"\nworkloads = [\"light\"]\n",
            &["`load` is a suite of loadgen's own"],
        ),
        (
            "name = \"a b\"\nworkloads = [\"light\"]\n",
            &["name: ", "cannot be part of a folder's name"],
        ),
        (
            "name = \"a\"\nload = [0, 50]\n",
            &["load: 0 is not between 1 and 200 %"],
        ),
        (
            "name = \"a\"\nworkloads = [\"light\"]\nbudget = \"soon\"\n",
            &["budget: ", "7m or 90s"],
        ),
        (
            "name = \"a\"\nworkloads = [\"light\"]\nrounds = 0\n",
            &["rounds: 0 is not between 1 and"],
        ),
        (
            "name = \"a\"\nworkloads = [\"steady\"]\nclients = [1, \"0\"]\n",
            &["clients: \"0\" is not a number"],
        ),
        (
            "name = \"a\"\nworkloads = [\"steady\"]\nwork = [\"10\"]\n",
            &["work: '10' is no time"],
        ),
    ] {
        let said = said_to(text);
        assert!(told.iter().all(|word| said.contains(word)), "{text}\n{said}");
    }
}

#[test]
fn the_dimensions_of_a_suite_file_are_those_of_the_flags() {
    let said = said_to("name = \"a\"\nworkloads = [\"steady\"]\nclients = [1, \"2k\"]\nload = [50]\n");
    for name in ["steady-1 ", "steady-2000 ", "saturated ", "load-50 "] {
        assert!(said.contains(&format!("  {name}")), "{said}");
    }
    let said = said_to("name = \"a\"\ntargets = [\"event-epoll\"]\nworkloads = [\"steady\"]\nworkers = [1, 2]\n");
    assert!(said.contains("event-epoll (2 workers)"), "{said}");
}

#[test]
fn a_suite_goes_without_flags_that_say_what_runs() {
    let folder = tempfile::tempdir().unwrap();
    let failure = compare(folder.path(), &["--suite", "laod"], &mut Synthetic::new())
        .1
        .unwrap_err();
    assert!(
        failure
            .text
            .contains("--suite laod is neither a suite (default, seed, load, ")
            && failure.text.contains("full)"),
        "{failure}"
    );
}

#[test]
fn a_target_cannot_be_added_to_loads_that_it_was_not_saturated_for() {
    let folder = tempfile::tempdir().unwrap();
    let words = ["--suite", "load", "--rounds", "1", "--targets", "fork,thread"];
    compare(folder.path(), &words, &mut Synthetic::new()).1.unwrap();
    let made = only_folder(folder.path());
    let words = ["--add", "event-tokio", made.to_str().unwrap()];
    let failure = compare(folder.path(), &words, &mut Synthetic::new()).1.unwrap_err();
    assert!(failure.text.contains("this one was not"), "{failure}");
}
