//! `report.html` as text: what stands on it and that it loads nothing. How it looks and what
//! its script does is tried in a browser by `.ci/page`.

use crate::golden::{expect, golden, nine_rounds};
use crate::synthetic::{Fault, ORIGINALS, file, trial};
use crate::tables::swept;
use loadgen::measurement::store::Stored;
use loadgen::record::{Measurement, SuitePlace};
use loadgen::report::portraits::portraits;
use loadgen::report::{folder, sweep};
use loadgen::suite::matrix::SuiteFile;
use loadgen::suite::results::Results;

fn page(file: &SuiteFile, stored: &[Stored]) -> String {
    let results = Results::of(&file.suite, stored);
    let files = folder::files(file, &results, stored);
    files.into_iter().find(|(name, _)| name == "report.html").unwrap().1
}

/// A record of each round for each pair, without running a suite; the files are named as in one.
pub(crate) fn records(file: &SuiteFile, rounds: u32, change: impl Fn(&mut Measurement)) -> Vec<Stored> {
    let of_round = |round| {
        let pairs = (1..).zip(file.suite.pairs_of_round(round));
        pairs.map(move |(position, pair)| (round, position, pair))
    };
    (1..=rounds)
        .flat_map(of_round)
        .map(|(round, position, pair)| {
            let place = SuitePlace {
                at: None,
                suite: file.suite.name.clone(),
                round,
                position,
                seed: 1,
                attempt: 1,
                control: pair.control,
                plan_hash: None,
            };
            let mut measurement = trial(&file.suite.plan(&pair, round), &place, Fault::None);
            change(&mut measurement);
            Stored {
                file: format!("records/round-{round:02}-{position}.json"),
                measurement,
            }
        })
        .collect()
}

#[test]
fn the_page_loads_nothing_and_has_every_section() {
    let (file, store, _) = nine_rounds();
    let page = page(file, store.records());
    for outside in ["http://", "https://", " src=", "url(", "@import", "fetch("] {
        assert!(!page.contains(outside), "{outside}");
    }
    for id in [
        "findings",
        "models",
        "workload-steady",
        "workload-churn",
        "run",
        "method",
        "machine",
        "void",
    ] {
        assert!(page.contains(&format!("<section id=\"{id}\"")), "{id}");
        assert!(
            page.contains(&format!("href=\"#{id}\"")),
            "{id} is not in the list of sections"
        );
    }
    for chart in [
        "capacity-steady-first",
        "ratios-steady",
        "response-steady",
        "messages-per-s-steady",
        "cpu-distance",
        "one-trial",
    ] {
        assert!(page.contains(&format!("<figure id=\"{chart}\"")), "{chart}");
    }
}

#[test]
fn every_chart_has_its_words_and_its_table() {
    let (file, store, _) = nine_rounds();
    let page = page(file, store.records());
    for figure in page.split("<figure ").skip(1) {
        let figure = figure.split("</figure>").next().unwrap();
        let name = figure.split('"').nth(1).unwrap();
        assert!(
            figure.contains("role=\"img\"") && figure.contains("<title id="),
            "{name}"
        );
        let desc = figure
            .split("<desc id=")
            .nth(1)
            .unwrap()
            .split("</desc>")
            .next()
            .unwrap();
        assert!(desc.len() > 60, "{name}: {desc}");
        assert!(figure.contains("<tbody>\n<tr"), "{name} has no table");
    }
}

#[test]
fn ids_are_unique() {
    let (file, store, _) = nine_rounds();
    let page = page(file, store.records());
    let mut ids: Vec<&str> = page
        .split(" id=\"")
        .skip(1)
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all);
}

#[test]
fn a_name_cannot_break_out_of_the_page() {
    let mut file = file(ORIGINALS, "steady", 2, 600);
    file.label = "<script>alert(1)</script>".into();
    let stored = records(&file, 2, |trial| {
        trial.target.runtime = Some("\"><img src=x onerror=alert(1)>".into());
        trial.environment.cpu_model = Some("</td></table><b>".into());
    });
    let page = page(&file, &stored);
    assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("</table><b>"));
}

#[test]
fn a_model_is_told_by_what_was_measured() {
    let (file, store, _) = nine_rounds();
    let results = Results::of(&file.suite, store.records());
    let text: Vec<String> = portraits(file, &results, store.records())
        .into_iter()
        .map(|portrait| {
            let lists = [
                ("advantages", portrait.advantages),
                ("disadvantages", portrait.disadvantages),
                ("alike", portrait.alike),
                ("needs", portrait.needs),
                ("missing", portrait.missing),
            ];
            let lists = lists.map(|(name, sentences)| {
                let sentences: String = sentences.iter().map(|sentence| format!("  {sentence}\n")).collect();
                format!("{name}\n{sentences}")
            });
            format!("{}\n{}\n{}", portrait.model.as_str(), portrait.about, lists.concat())
        })
        .collect();
    expect(&golden("portraits.txt"), &text.join("\n"));
}

#[test]
fn before_five_rounds_a_model_is_better_at_nothing() {
    let file = file(ORIGINALS, "steady", 3, 600);
    let stored = records(&file, 3, |_| {});
    let results = Results::of(&file.suite, &stored);
    let portraits = portraits(&file, &results, &stored);
    assert_eq!(portraits.len(), 3);
    for portrait in portraits {
        let claims = portrait.advantages.iter().chain(&portrait.disadvantages);
        let claimed: Vec<&String> = claims.filter(|sentence| !sentence.contains("System calls")).collect();
        assert!(claimed.is_empty(), "{claimed:?}");
        assert!(portrait.about.contains("fewer than five rounds"), "{}", portrait.about);
    }
}

#[test]
fn a_sweep_has_a_page_too() {
    let (file, stored) = swept();
    let files = sweep::files(&file, &stored);
    let page = &files.iter().find(|(name, _)| name == "report.html").unwrap().1;
    for text in [
        "<figure id=\"curve\"",
        "highest rate with p99.9",
        "What was found",
        "How to read this",
    ] {
        assert!(page.contains(text), "{text}");
    }
    expect(&golden("sweep.html"), page);
}

#[test]
fn charts_over_clients_and_load_are_drawn_where_a_suite_varies_them() {
    let mut file = file(ORIGINALS, "steady", 2, 600);
    let steady = file.suite.workloads.remove(0);
    file.suite.workloads = [1, 10, 100]
        .map(|clients| {
            let mut workload = steady.clone();
            workload.name = format!("clients-{clients}");
            workload.clients = clients;
            workload
        })
        .into();
    let page = page(&file, &records(&file, 2, |_| {}));
    for chart in ["over-clients", "memory-over-connections"] {
        assert!(page.contains(&format!("<figure id=\"{chart}\"")), "{chart}");
    }
    assert!(!page.contains("response-over-load"), "no rate was varied");
}
