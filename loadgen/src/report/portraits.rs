//! Each model as this folder shows it: what it is better at than the others, what it is worse at, and what is not told apart, each
//! sentence with its figures and intervals. A model is spoken for by one target, its best by capacity, in all sentences.

use crate::measurement::store::Stored;
use crate::quantity::{MEMORY_PER_CONNECTION, PROCESSES, Quantity, SWITCHES_PER_MESSAGE, THREADS};
use crate::report::claims::level;
use crate::report::facts::capital;
use crate::suite::compared::{Compared, Known};
use crate::suite::conclusions::drawn::Claim;
use crate::suite::findings::{Judged, Table, has_rounds_enough};
use crate::suite::fit::Comparison;
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, Row};
use echo_contract::catalog::{self, Model};

/// One model.
#[derive(Clone, Debug)]
pub struct Portrait {
    pub model: Model,
    /// Who speaks for it, and who else is of it.
    pub about: String,
    pub advantages: Vec<String>,
    pub disadvantages: Vec<String>,
    /// What is not shown to differ.
    pub alike: Vec<String>,
    /// What it takes to run, and nothing to compare with.
    pub needs: Vec<String>,
    /// What these records do not tell.
    pub missing: Vec<String>,
}

/// What every folder so far leaves open.
const NEVER_MEASURED: &str = "what a crash takes down with it (isolation), CPU-bound work, portability";
/// What the suite that measures these leaves open.
const PORTABILITY: &str = "portability";

/// Fork, thread and event, as far as they were measured; empty where no target has a level.
#[must_use]
pub fn portraits(file: &SuiteFile, results: &Results, stored: &[Stored]) -> Vec<Portrait> {
    let Some(main) = main_table(results) else {
        return Vec::new();
    };
    let speakers = speakers(main);
    let aspects = aspects(file, results, stored, main);
    speakers
        .iter()
        .map(|speaker| portrait(speaker, &speakers, &aspects, results, main))
        .collect()
}

/// The table by which a model's best is chosen.
fn main_table(results: &Results) -> Option<&Table> {
    let named = ["steady", "medium", "light"].into_iter();
    let mut named = named.filter_map(|name| results.findings.table(name, Judged::Capacity));
    let has_level = |table: &&Table| table.targets.iter().any(|target| target.level.is_some());
    let mut all = results.findings.tables.iter();
    named.find(has_level).or_else(|| all.find(has_level))
}

/// A model and the target that speaks for it.
struct Speaker<'a> {
    model: Model,
    target: &'a str,
    others: Vec<&'a str>,
}

/// In the order of the words fork, thread, event.
fn speakers(main: &Table) -> Vec<Speaker<'_>> {
    let models = [Model::Fork, Model::Thread, Model::Event];
    let of = |model: Model| {
        let of_model = main.targets.iter().filter(|target| {
            target.level.is_some() && catalog::find(&target.target).is_some_and(|row| row.model == model)
        });
        let mut names = of_model.map(|target| target.target.as_str());
        Some(Speaker {
            model,
            target: names.next()?,
            others: names.collect(),
        })
    };
    models.into_iter().filter_map(of).collect()
}

/// A target's figure.
type Figure<'a> = Box<dyn Fn(&str) -> Option<Known> + 'a>;
/// One target's figure over another's.
type Ratio<'a> = Box<dyn Fn(&str, &str) -> Option<Comparison> + 'a>;

/// Something by which models differ.
struct Aspect<'a> {
    name: String,
    more_is_better: bool,
    print: Box<dyn Fn(f64) -> String + 'a>,
    known: Figure<'a>,
    /// The first over the second.
    ratio: Ratio<'a>,
}

fn aspects<'a>(file: &'a SuiteFile, results: &'a Results, stored: &[Stored], main: &'a Table) -> Vec<Aspect<'a>> {
    let mut aspects = vec![judged(main, name_of(main))];
    let tables = results.findings.tables.iter();
    let others = tables.filter(|table| {
        let is_cost_of_churn = table.workload == "churn" && table.quantity == Judged::Capacity;
        let is_paced = matches!(table.quantity, Judged::CpuUsPerMessage | Judged::ResponseP99Ns);
        !std::ptr::eq(*table, main) && (is_cost_of_churn || is_paced)
    });
    aspects.extend(others.map(|table| judged(table, name_of(table))));
    for (quantity, name) in [
        (&MEMORY_PER_CONNECTION, "memory of an idle client, user and kernel"),
        (&SWITCHES_PER_MESSAGE, "context switches per message"),
    ] {
        let compared = Compared::of(&file.suite, stored, &main.workload, quantity);
        aspects.push(explained(compared, quantity, format!("{name}, {}", main.workload)));
    }
    aspects
}

fn name_of(table: &Table) -> String {
    let workload = &table.workload;
    match table.quantity {
        Judged::Capacity if workload == "churn" => "connections per CPU second, one message each, churn".to_string(),
        Judged::Capacity => format!("messages per CPU second, {workload}"),
        Judged::MessagesPerS => format!("messages per second, {workload}"),
        Judged::CpuUsPerMessage => format!("microseconds of CPU per message, {workload}"),
        Judged::ResponseP50Ns => format!("response p50, {workload}"),
        Judged::ResponseP99Ns => format!("response p99, {workload}"),
    }
}

fn judged(table: &Table, name: String) -> Aspect<'_> {
    Aspect {
        name,
        more_is_better: table.quantity.more_is_better(),
        print: Box::new(move |figure| level(table.quantity, figure)),
        known: Box::new(move |name| {
            let target = table.targets.iter().find(|target| target.target == name)?;
            let ((low, high), figure) = (target.interval?, target.level?);
            Some(Known { figure, low, high })
        }),
        ratio: Box::new(move |left, right| {
            let pair = table.pair(left, right)?;
            Some(match pair.left == left {
                true => pair.comparison,
                false => turned(&pair.comparison),
            })
        }),
    }
}

/// The same pair the other way round.
fn turned(pair: &Comparison) -> Comparison {
    Comparison {
        ratio: 1.0 / pair.ratio,
        low: 1.0 / pair.high,
        high: 1.0 / pair.low,
        ..*pair
    }
}

fn explained(compared: Compared, quantity: &'static Quantity, name: String) -> Aspect<'static> {
    let of_ratio = compared.clone();
    Aspect {
        name,
        more_is_better: false,
        print: Box::new(|figure| quantity.print(figure)),
        known: Box::new(move |target| compared.known(target)),
        ratio: Box::new(move |left, right| of_ratio.ratio(left, right)),
    }
}

fn portrait(
    speaker: &Speaker<'_>,
    all: &[Speaker<'_>],
    aspects: &[Aspect<'_>],
    results: &Results,
    main: &Table,
) -> Portrait {
    let mut portrait = Portrait {
        model: speaker.model,
        about: about(speaker, main),
        advantages: Vec::new(),
        disadvantages: Vec::new(),
        alike: Vec::new(),
        needs: needs(speaker, results, main).into_iter().collect(),
        missing: Vec::new(),
    };
    let rivals: Vec<&Speaker<'_>> = all.iter().filter(|other| other.model != speaker.model).collect();
    for aspect in aspects {
        if (aspect.known)(speaker.target).is_none() {
            portrait.missing.push(aspect.name.clone());
        } else {
            weigh(&mut portrait, speaker, &rivals, aspect);
        }
    }
    calls(&mut portrait, speaker, &rivals, results);
    let has_crash = results
        .conclusions
        .iter()
        .any(|conclusion| conclusion.claim == Claim::Isolation);
    let never = if has_crash { PORTABILITY } else { NEVER_MEASURED };
    portrait.missing.push(never.to_string());
    portrait
}

fn about(speaker: &Speaker<'_>, main: &Table) -> String {
    let (target, model) = (speaker.target, speaker.model.as_str());
    let speaks = match speaker.others.as_slice() {
        [] => format!("`{target}` is the only {model} target with a figure here."),
        others => format!(
            "`{target}` speaks for {model}: it has the best figure of its targets under {}. The others here: {}.",
            main.workload,
            others.join(", ")
        ),
    };
    let few = match has_rounds_enough(main) {
        true => "",
        false => " There are fewer than five rounds, so no difference is claimed yet.",
    };
    format!("{speaks}{few}")
}

/// Puts each rival on its side of the portrait, one sentence for all of a side.
fn weigh(portrait: &mut Portrait, speaker: &Speaker<'_>, rivals: &[&Speaker<'_>], aspect: &Aspect<'_>) {
    let Some(known) = (aspect.known)(speaker.target) else {
        return;
    };
    let print = &aspect.print;
    let figure = format!(
        "{}: {} ({}..{})",
        capital(&aspect.name),
        print(known.figure),
        print(known.low),
        print(known.high)
    );
    let mut sides: [Vec<String>; 3] = Default::default();
    for rival in rivals {
        let Some(pair) = (aspect.ratio)(speaker.target, rival.target) else {
            continue;
        };
        let side = match (pair.claimed, (pair.ratio > 1.0) == aspect.more_is_better) {
            (true, true) => 0,
            (true, false) => 1,
            (false, _) => 2,
        };
        sides[side].push(format!(
            "{}x ({}..{}) that of {}",
            ratio(pair.ratio),
            ratio(pair.low),
            ratio(pair.high),
            rival.target
        ));
    }
    let [better, worse, alike] =
        sides.map(|told| (!told.is_empty()).then(|| format!("{figure}, {}.", told.join(" and "))));
    portrait.advantages.extend(better);
    portrait.disadvantages.extend(worse);
    portrait.alike.extend(alike);
}

/// Two digits behind the point, more for what would read as nothing.
fn ratio(ratio: f64) -> String {
    match ratio {
        small if small < 0.095 => format!("{small:.4}"),
        _ => format!("{ratio:.2}"),
    }
}

/// System calls are counted in a trial of their own: a figure without an interval, so only whole differences are told.
fn calls(portrait: &mut Portrait, speaker: &Speaker<'_>, rivals: &[&Speaker<'_>], results: &Results) {
    const NOTICEABLE: f64 = 0.05;
    let Some(own) = counted(results, speaker.target) else {
        portrait.missing.push("system calls per message".to_string());
        return;
    };
    let mut sides: [Vec<String>; 3] = Default::default();
    for rival in rivals {
        let Some(other) = counted(results, rival.target) else {
            continue;
        };
        let side = match own.many / other.many {
            fewer if fewer < 1.0 - NOTICEABLE => 0,
            more if more > 1.0 + NOTICEABLE => 1,
            _ => 2,
        };
        sides[side].push(format!("{}: {}", rival.target, other.text));
    }
    let told = |others: Vec<String>| {
        (!others.is_empty()).then(|| {
            format!(
                "System calls per message, {}; {} (counted in a trial of its own each, so without an interval).",
                own.text,
                others.join("; ")
            )
        })
    };
    let [better, worse, alike] = sides.map(told);
    portrait.advantages.extend(better);
    portrait.disadvantages.extend(worse);
    portrait.alike.extend(alike);
}

/// Calls with the most clients that were counted with, and the sentence for all.
struct Calls {
    many: f64,
    text: String,
}

fn counted(results: &Results, target: &str) -> Option<Calls> {
    let row = results.rows.iter().find(|row| row.target == target)?;
    let known: Vec<(u32, f64)> = (row.syscalls_per_message.iter())
        .filter_map(|(clients, calls)| Some((*clients, (*calls)?)))
        .collect();
    let told: Vec<String> = known
        .iter()
        .map(|(clients, calls)| match clients {
            1 => format!("{calls:.2} with 1 client"),
            clients => format!("{calls:.2} with {clients}"),
        })
        .collect();
    Some(Calls {
        many: known.last()?.1,
        text: told.join(", "),
    })
}

/// Processes and threads under the workload.
fn needs(speaker: &Speaker<'_>, results: &Results, main: &Table) -> Option<String> {
    let row = results
        .of_workload(&main.workload)
        .find(|row| row.target == speaker.target)?;
    Some(format!(
        "Under {}: {} and {}.",
        main.workload,
        of_each(row, &PROCESSES, "process", "processes")?,
        of_each(row, &THREADS, "thread", "threads")?
    ))
}

/// `1,001 processes`, with its range where trials differ.
fn of_each(row: &Row, quantity: &Quantity, one: &str, many: &str) -> Option<String> {
    let spread = row.spread(quantity)?;
    let word = if spread.median == 1.0 { one } else { many };
    let range = match spread.min == spread.max {
        true => String::new(),
        false => format!(" ({}..{})", quantity.print(spread.min), quantity.print(spread.max)),
    };
    Some(format!("{} {word}{range}", quantity.print(spread.median)))
}
