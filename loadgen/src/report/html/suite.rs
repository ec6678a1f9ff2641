//! The page of a comparison's folder: findings, capacity and one chart; then the models, every workload, the run, the method, the
//! machine, and what was left out.

use super::blocks::{Block, Figure, Table, marked};
use super::{Section, page};
use crate::measurement::store::{Stored, file_name};
use crate::quantity::Place;
use crate::record::Workload;
use crate::report::chart::Hues;
use crate::report::columns;
use crate::report::folder::Charts;
use crate::report::markdown::command;
use crate::report::portraits::{Portrait, portraits};
use crate::report::svg::{Hue, Picture};
use crate::report::varied::{self, Varied};
use crate::report::{conclusions, facts, original, screen, sheets, terminal};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, Row};
use crate::text::{counted, workload as workload_line};

/// The whole page.
#[must_use]
pub fn suite(file: &SuiteFile, results: &Results, stored: &[Stored], charts: &Charts) -> String {
    let hues = Hues::of(results);
    let hue = |name: &str| hues.target(name.trim_end_matches(" (invalid)"));
    let mut sections = vec![
        Section::new("findings", "What was found", found(file, results, charts, &hue)),
        Section::new("models", "Models", models(&portraits(file, results, stored))),
    ];
    for (workload, pictures) in file.suite.loads().zip(&charts.of_workloads) {
        let id = format!("workload-{}", file_name(&workload.name));
        sections.push(Section::new(
            &id,
            &workload.name,
            of_workload(results, workload, pictures, &hue),
        ));
    }
    if !charts.over_workloads.is_empty() {
        sections.insert(
            1,
            Section::new("over", "Over clients and load", over(file, results, charts, &hue)),
        );
    }
    sections.extend([
        Section::new("run", "The run", run(charts, &hue)),
        Section::new("method", "How to read this", list(facts::how_to_read(results))),
        Section::new("machine", "Plan and machine", machine(file, stored, &hue)),
        Section::new("void", "Trials left out", left_out(results)),
    ]);
    let title = format!("Comparison {} on {}", file.suite.name, file.label);
    let mut about = vec![
        marked(&facts::how_it_went(file, results)),
        marked(&screen::place(file, results)),
    ];
    about.extend(screen::how_sure(file, &results.findings).map(|sentence| marked(&sentence)));
    page(title, about, shown_models(results), sections)
}

/// Those that a reader may choose from, in one order.
fn shown_models(results: &Results) -> Vec<&'static str> {
    let all = [Hue::Fork, Hue::Thread, Hue::Event, Hue::Other];
    let is_there = |hue: &Hue| results.rows.iter().any(|row| Hue::of(row.model.as_deref()) == *hue);
    all.into_iter().filter(is_there).map(Hue::class).collect()
}

/// The first screen: sentences, the tables with letters, one chart.
fn found(file: &SuiteFile, results: &Results, charts: &Charts, hue: &dyn Fn(&str) -> Hue) -> Vec<Block> {
    if !results.conclusions.is_empty() {
        return conclusions_of(file, results, hue);
    }
    let mut blocks = list(screen::found(file, results));
    let tables = sheets::grids(file, &results.findings).into_iter().map(|sheet| {
        let table = Table::new(&sheet.title.replace('`', ""), sheet.grid).by_target(hue);
        table.with_foot(sheet.below)
    });
    blocks.push(Block::Tables(tables.collect()));
    let workloads = file.suite.loads();
    let main = ["steady", "medium", "light"]
        .iter()
        .find_map(|name| workloads.clone().position(|workload| workload.name == *name));
    if let Some(picture) = charts
        .of_workloads
        .get(main.unwrap_or(0))
        .and_then(|pictures| pictures.first())
    {
        blocks.push(Block::Figures(vec![Figure::new(picture, "-first", hue)]));
    }
    let missing: Vec<String> = screen::left_out(file)
        .into_iter()
        .chain(screen::missing(results))
        .collect();
    if let Some(missing) = Block::list("", &missing) {
        blocks.extend([Block::Heading("Missing or void".to_string()), missing]);
    }
    blocks
}

/// Each conclusion: its sentences, its table, how to read it, and what is missing.
fn conclusions_of(file: &SuiteFile, results: &Results, hue: &dyn Fn(&str) -> Hue) -> Vec<Block> {
    let of = |mut told: conclusions::Told| {
        for heading in &mut told.grid.headings {
            *heading = heading.replace('\n', " ");
        }
        let mut blocks = vec![Block::Heading(told.title.clone())];
        blocks.extend(Block::list("", &told.sentences));
        blocks.push(Block::Tables(vec![Table::new(&told.title, told.grid).by_target(hue)]));
        blocks.push(Block::text(&told.about));
        blocks.extend(Block::list("", &told.missing));
        blocks
    };
    let told = conclusions::told(file, &results.conclusions);
    told.into_iter().flat_map(of).collect()
}

/// Charts and tables over what the suite varies.
fn over(file: &SuiteFile, results: &Results, charts: &Charts, hue: &dyn Fn(&str) -> Hue) -> Vec<Block> {
    let varied = varied::all(file, results);
    let tables = varied.iter().flat_map(Varied::tables);
    let tables = tables.map(|(title, grid)| Table::new(&facts::capital(&title), grid).by_target(hue));
    vec![figures(&charts.over_workloads, hue), Block::Tables(tables.collect())]
}

fn models(portraits: &[Portrait]) -> Vec<Block> {
    if portraits.is_empty() {
        return vec![Block::text(
            "No target of this folder has a figure that stands, so nothing can be said of models.",
        )];
    }
    let of = |portrait: &Portrait| {
        let mut blocks = vec![
            Block::Heading(facts::capital(portrait.model.as_str())),
            Block::text(&portrait.about),
        ];
        let lists = [
            ("Advantages, as measured here", &portrait.advantages),
            ("Disadvantages, as measured here", &portrait.disadvantages),
            ("Not shown to differ", &portrait.alike),
            ("What it takes", &portrait.needs),
            ("Not measured here", &portrait.missing),
        ];
        blocks.extend(
            lists
                .into_iter()
                .filter_map(|(name, sentences)| Block::list(name, sentences)),
        );
        blocks
    };
    let how = "Each figure is the level over all rounds with its interval of 95 %; each ratio has the interval that holds for all pairs of \
               targets together, and stands under advantages or disadvantages only where it is claimed.";
    std::iter::once(Block::text(how))
        .chain(portraits.iter().flat_map(of))
        .collect()
}

fn of_workload(results: &Results, workload: &Workload, pictures: &[Picture], hue: &dyn Fn(&str) -> Hue) -> Vec<Block> {
    let rows: Vec<&Row> = results.of_workload(&workload.name).collect();
    let mut blocks = vec![Block::Text(marked(&format!("{}.", workload_line(workload))))];
    blocks.extend(list(terminal::findings(results, &workload.name, &rows)));
    blocks.push(figures(pictures, hue));
    let tables = [
        ("speed and response", [Place::Speed, Place::Response]),
        ("cost", [Place::Cpu, Place::Memory]),
    ];
    let tables = tables.map(|(what, places)| {
        let caption = format!("{}: {what}", workload.name);
        Table::new(&caption, columns::grid(&places, &rows)).by_target(hue)
    });
    blocks.push(Block::Tables(tables.into()));
    if let Some(scenario) = original::scenario(&workload.name) {
        let table = Table::new(&facts::capital(original::LABEL), original::grid(scenario));
        blocks.push(Block::Tables(vec![table]));
    }
    blocks
}

fn run(charts: &Charts, hue: &dyn Fn(&str) -> Hue) -> Vec<Block> {
    let mut blocks = vec![figures(&charts.of_run, hue)];
    let is_there = |name: &str| charts.of_run.iter().any(|picture| picture.name == name);
    let missing = [
        (
            "cpu-distance",
            "The distance of the CPUs was not measured in this folder.",
        ),
        (
            "one-trial",
            "No record of this folder has three windows or more, so no trial is shown over time.",
        ),
    ];
    let missing = missing.into_iter().filter(|(name, _)| !is_there(name));
    blocks.extend(missing.map(|(_, sentence)| Block::text(sentence)));
    blocks
}

fn machine(file: &SuiteFile, stored: &[Stored], hue: &dyn Fn(&str) -> Hue) -> Vec<Block> {
    let mut tables = vec![Table::new("Plan and machine", facts::plan_and_machine(file, stored))];
    let targets = facts::targets(&file.suite, stored);
    if !targets.rows.is_empty() {
        tables.push(Table::new("What each target was", targets).by_target(hue));
    }
    vec![
        Block::text("Made by"),
        Block::Code(command(&file.command)),
        Block::Tables(tables),
    ]
}

fn left_out(results: &Results) -> Vec<Block> {
    let mut blocks = vec![Block::text(
        "All trials are kept in `records/`; what a gate takes away is used for no figure above unless marked.",
    )];
    let by_gate = results.invalid_by_gate().into_iter().map(|(gate, trials, worst)| {
        format!(
            "`{gate}`: {}, at worst: {worst}",
            counted(trials as u64, "trial", "trials")
        )
    });
    blocks.extend(list(by_gate.collect()));
    let link = |file: &str| facts::record_name(file).to_string();
    for (name, grid) in [
        ("Trials with void figures", facts::void(results)),
        ("Trials with far CPUs", facts::far(results)),
    ] {
        if grid.rows.is_empty() {
            blocks.push(Block::Text(format!("{name}: none.")));
            continue;
        }
        let name = format!("{name}: {}", grid.rows.len());
        let table = Table::new(&name, grid).linked(&link);
        blocks.push(Block::Folded(name, table));
    }
    if !results.far.is_empty() {
        blocks.push(Block::text(&facts::about_far(results)));
    }
    blocks
}

fn figures(pictures: &[Picture], hue: &dyn Fn(&str) -> Hue) -> Block {
    Block::Figures(pictures.iter().map(|picture| Figure::new(picture, "", hue)).collect())
}

fn list(sentences: Vec<String>) -> Vec<Block> {
    Block::list("", &sentences).into_iter().collect()
}
