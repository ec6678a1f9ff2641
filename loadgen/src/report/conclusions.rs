//! The conclusions of a suite that was made for them: a table each with targets in rows, one sentence for each model, and what is
//! missing. The same for the terminal, README.md and report.html.

use crate::quantity::{
    BESIDE_BYTES_PER_S, BESIDE_MESSAGES_PER_S, CLIENTS_LOST, CONNECTIONS_PER_S, CPU_PER_CONNECTION, Quantity,
    RESPONSE_P50, RESPONSE_P99, SWITCHES_PER_MESSAGE,
};
use crate::report::sheets;
use crate::report::table::{self, Grid, Group, fitted};
use crate::report::terminal::wrapped;
use crate::suite::conclusions::drawn::{Cell, Claim, Column, Conclusion, Known, Line};
use crate::suite::fit::ROUNDS_FOR_A_CLAIM;
use crate::suite::matrix::SuiteFile;
use crate::text::{count, counted, figure, milliseconds};
use crate::units::round_u64;

/// Sentences on what is missing that a terminal has of each conclusion.
const MOST_MISSING: usize = 4;

/// A conclusion as people read it.
#[derive(Clone, Debug)]
pub struct Told {
    pub title: String,
    /// What was done, and how to read the table.
    pub about: String,
    /// One for each model that was measured.
    pub sentences: Vec<String>,
    /// Headings of two lines.
    pub grid: Grid,
    /// Figures that there are not, and why.
    pub missing: Vec<String>,
}

/// Every conclusion, in the order of the suite's workloads.
#[must_use]
pub fn told(file: &SuiteFile, conclusions: &[Conclusion]) -> Vec<Told> {
    conclusions.iter().map(|conclusion| one(file, conclusion)).collect()
}

/// For a terminal of this width.
#[must_use]
pub fn drawn(file: &SuiteFile, conclusions: &[Conclusion], width: u16) -> String {
    let of = |told: Told| {
        let names: Vec<String> = told.grid.rows.iter().map(|row| row[0].clone()).collect();
        let cells = |place: usize| told.grid.rows.iter().map(|row| row[place].clone()).collect();
        let columns = (1..)
            .zip(&told.grid.headings[1..])
            .map(|(place, heading)| table::Column {
                heading: heading.clone(),
                cells: cells(place),
            });
        let group = Group {
            name: String::new(),
            columns: columns.collect(),
        };
        let mut text = wrapped(&told.title, 0, 2, width);
        for sentence in &told.sentences {
            text.push_str(&wrapped(&format!("- {sentence}"), 0, 2, width));
        }
        text.push_str(&format!("\n{}\n", fitted(&names, vec![group], width).join("\n\n")));
        text.push_str(&wrapped(&told.about, 2, 4, width));
        for sentence in told.missing.iter().take(MOST_MISSING) {
            text.push_str(&wrapped(sentence, 2, 4, width));
        }
        if let Some(more @ 1..) = told.missing.len().checked_sub(MOST_MISSING) {
            text.push_str(&wrapped(
                &format!("and {}: in the folder", counted(more as u64, "more", "more")),
                2,
                4,
                width,
            ));
        }
        text
    };
    told(file, conclusions)
        .into_iter()
        .map(of)
        .collect::<Vec<_>>()
        .join("\n")
}

/// As a part of README.md.
#[must_use]
pub fn markdown(file: &SuiteFile, conclusions: &[Conclusion]) -> String {
    let of = |told: Told| {
        let list = |sentences: &[String]| -> String { sentences.iter().map(|text| format!("- {text}\n")).collect() };
        format!(
            "### {}\n\n{}\n{}\n{}\n\n{}",
            told.title,
            list(&told.sentences),
            told.grid.markdown(1),
            told.about,
            list(&told.missing)
        )
    };
    told(file, conclusions).into_iter().map(of).collect()
}

fn one(file: &SuiteFile, conclusion: &Conclusion) -> Told {
    let mut headings = vec!["target".to_string()];
    headings.extend(
        conclusion
            .columns
            .iter()
            .map(|column| heading(conclusion.claim, column)),
    );
    let row = |line: &Line| {
        let cells = conclusion
            .columns
            .iter()
            .zip(&line.cells)
            .map(|(column, cell)| print(column, cell));
        std::iter::once(sheets::label(&file.suite, &line.target))
            .chain(cells)
            .collect()
    };
    let mut missing: Vec<String> = conclusion.lines.iter().flat_map(|line| line.missing.clone()).collect();
    missing.extend(too_few_rounds(conclusion));
    Told {
        title: title(conclusion),
        about: about(conclusion),
        sentences: sentences(conclusion),
        grid: Grid {
            headings,
            rows: conclusion.lines.iter().map(row).collect(),
        },
        missing,
    }
}

fn title(conclusion: &Conclusion) -> String {
    match conclusion.claim {
        Claim::Isolation => "Isolation: what a crash takes with it",
        Claim::Work => "CPU-bound work of one client, and the others",
        Claim::Creation => "Creation: what a connection costs",
        Claim::Memory => "Memory for each client",
        Claim::Switching => "Switching between clients",
        Claim::Neighbour => "A greedy client, and the others",
    }
    .to_string()
}

fn about(conclusion: &Conclusion) -> String {
    let workload = &conclusion.columns[0].workload;
    let others = count(workload.measured_clients().into());
    match conclusion.claim {
        Claim::Isolation => format!(
            "{} clients are connected and have had an echo; SIGABRT ends the process that serves one of them. Lost is who has no \
             echo after that; a new client tries from the signal on.",
            count(workload.clients.into())
        ),
        Claim::Work => format!(
            "Response of {others} polite clients (open loop, the same rate for every target), alone and beside one whose \
             requests, one after the other, each take the server {} of CPU.",
            work(conclusion)
        ),
        Claim::Neighbour => format!(
            "Response of {others} polite clients (open loop, the same rate for every target), alone and beside one that always \
             has a megabyte under way. loadgen looks at 16 KiB of its echoes at a time, so as not to be late for the others itself."
        ),
        Claim::Creation => format!(
            "A connection for every message: as many as the server takes with {others} clients, and at {} a second, where the \
             first echo's time counts from the planned connect().",
            count(paced_rate(conclusion).unwrap_or_default())
        ),
        Claim::Memory => format!(
            "Growth of the server's memory from before the first client, user (PSS) and kernel, by the {others} clients that are \
             then connected and silent."
        ),
        Claim::Switching => {
            "Context switches of the server's whole life by its messages, and messages per second, in a closed \
                             loop of so many clients."
                .to_string()
        }
    }
}

/// CPU time of a request that costs: `20 ms`.
fn work(conclusion: &Conclusion) -> String {
    let mut beside = conclusion
        .columns
        .iter()
        .filter_map(|column| column.workload.beside?.work_ns);
    let work_ns = beside.next().unwrap_or_default();
    milliseconds(work_ns / 1_000_000)
}

/// Connections per second that are planned.
fn paced_rate(conclusion: &Conclusion) -> Option<u64> {
    let mut open = conclusion
        .columns
        .iter()
        .filter_map(|column| column.workload.open_loop());
    open.next().map(|open| open.rate_per_s)
}

fn heading(claim: Claim, column: &Column) -> String {
    let quantity = &column.quantity;
    let is = |other: &Quantity| quantity.name == other.name;
    let clients = || count(column.workload.clients.into());
    match claim {
        Claim::Isolation if is(&CLIENTS_LOST) => format!("clients lost\nof {}", clients()),
        Claim::Work if is(&BESIDE_MESSAGES_PER_S) => "its requests\n/s".to_string(),
        Claim::Neighbour if is(&BESIDE_BYTES_PER_S) => "the greedy\none had".to_string(),
        Claim::Work | Claim::Neighbour => {
            let point = if is(&RESPONSE_P50) { "p50" } else { "p99" };
            match (&column.over, column.workload.beside) {
                (Some(_), _) => format!("{point}\nratio"),
                (None, Some(_)) => format!("{point}\nbeside it"),
                (None, None) => format!("{point}\nalone"),
            }
        }
        Claim::Creation => match column.workload.open_loop() {
            Some(open) if is(&CPU_PER_CONNECTION) => format!("CPU us each,\nat {}/s", count(open.rate_per_s)),
            Some(_) => "first echo\nafter (p50)".to_string(),
            None if is(&CONNECTIONS_PER_S) => "connections\n/s at most".to_string(),
            None => "CPU us per\nconnection".to_string(),
        },
        Claim::Switching => {
            let what = if is(&SWITCHES_PER_MESSAGE) {
                "switches"
            } else {
                "messages/s"
            };
            format!("{what},\n{} clients", clients())
        }
        Claim::Isolation | Claim::Memory => quantity.heading.to_string(),
    }
}

/// `12.3 us (11.9..12.8)`.
fn print(column: &Column, cell: &Cell) -> String {
    match cell {
        Cell::Known(known) => {
            let shown = amount(column, known.figure);
            match known
                .interval
                .map(|(low, high)| (amount(column, low), amount(column, high)))
            {
                // One that prints as nothing tells nothing.
                Some((low, high)) if (&low, &high) != (&shown, &shown) => format!("{shown} ({low}..{high})"),
                _ => shown,
            }
        }
        Cell::NeverServerGone => "never".to_string(),
        Cell::NotWithinMs(ms) => format!("not within {}", milliseconds(*ms)),
        Cell::Missing => "n/a".to_string(),
    }
}

/// A figure without its interval.
fn amount(column: &Column, number: f64) -> String {
    match column.over {
        Some(_) => format!("{}x", figure(number)),
        None => column.quantity.print(number),
    }
}

/// Says from how many rounds on there are intervals, while there are fewer.
fn too_few_rounds(conclusion: &Conclusion) -> Option<String> {
    let cells = conclusion.lines.iter().flat_map(|line| &line.cells);
    let most = cells.filter_map(Cell::known).map(|known| known.rounds).max()?;
    (most < ROUNDS_FOR_A_CLAIM).then(|| {
        format!(
            "Intervals are told from {ROUNDS_FOR_A_CLAIM} rounds on ({} so far).",
            counted(most as u64, "round", "rounds")
        )
    })
}

/// One for each model, in the order of the words fork, thread, event; targets of no known model have one each.
fn sentences(conclusion: &Conclusion) -> Vec<String> {
    let of_model = |model: &str| -> Vec<&Line> {
        let lines = conclusion.lines.iter();
        lines.filter(|line| line.model.as_deref() == Some(model)).collect()
    };
    let models = ["fork", "thread", "event"];
    let mut groups: Vec<(String, Vec<&Line>)> = models
        .iter()
        .map(|model| ((*model).to_string(), of_model(model)))
        .collect();
    let others = conclusion.lines.iter().filter(|line| {
        let model = line.model.as_deref();
        !model.is_some_and(|model| models.contains(&model))
    });
    groups.extend(others.map(|line| (line.target.clone(), vec![line])));
    groups
        .into_iter()
        .filter(|(_, lines)| !lines.is_empty())
        .map(|(name, lines)| {
            let text = match conclusion.claim {
                Claim::Isolation => isolation(conclusion, &lines),
                Claim::Work | Claim::Neighbour => beside(conclusion, &lines),
                Claim::Creation => creation(conclusion, &lines),
                Claim::Memory => memory(conclusion, &lines),
                Claim::Switching => switching(conclusion, &lines),
            };
            format!(
                "{name}: {}.",
                text.unwrap_or_else(|| "no figure of it stands".to_string())
            )
        })
        .collect()
}

/// The targets of a model by what became of them.
fn isolation(conclusion: &Conclusion, lines: &[&Line]) -> Option<String> {
    let all = conclusion.columns[0].workload.clients;
    let mut outcomes: Vec<(String, Vec<&str>)> = Vec::new();
    let served = |line: &Line| match line.cells[1] {
        Cell::NeverServerGone => Some("no new client is ever served: the server is gone".to_string()),
        Cell::NotWithinMs(ms) => Some(format!("no new client is served within {}", milliseconds(ms))),
        _ => None,
    };
    for line in lines {
        let Some(lost) = line.cells[0].known() else { continue };
        let lost = match round_u64(lost.figure) {
            lost if lost >= u64::from(all) => format!("all {} clients", count(all.into())),
            lost => format!("{} of {} clients", count(lost), count(all.into())),
        };
        let outcome = match served(line) {
            Some(served) => format!("a crash takes {lost} with it, and {served}"),
            None => format!("a crash takes {lost} with it"),
        };
        match outcomes.iter_mut().find(|(known, _)| *known == outcome) {
            Some((_, targets)) => targets.push(&line.target),
            None => outcomes.push((outcome, vec![&line.target])),
        }
    }
    let has_several = outcomes.len() > 1;
    let tell = |(outcome, targets): &(String, Vec<&str>)| {
        let of: Vec<&Line> = lines
            .iter()
            .copied()
            .filter(|line| targets.contains(&line.target.as_str()))
            .collect();
        let after = spread(conclusion, &of, 1);
        let after = after.map_or_else(String::new, |after| format!("; a new client is served after {after}"));
        match has_several {
            true => format!("{outcome}{after} ({})", targets.join(", ")),
            false => format!("{outcome}{after}"),
        }
    };
    (!outcomes.is_empty()).then(|| outcomes.iter().map(tell).collect::<Vec<_>>().join("; "))
}

fn beside(conclusion: &Conclusion, lines: &[&Line]) -> Option<String> {
    let place = |point: &Quantity, is_beside: bool, is_ratio: bool| {
        conclusion.columns.iter().position(|column| {
            column.quantity.name == point.name
                && column.workload.beside.is_some() == is_beside
                && column.over.is_some() == is_ratio
        })
    };
    let told = |point, is_beside, is_ratio| spread(conclusion, lines, place(point, is_beside, is_ratio)?);
    let who = match conclusion.claim {
        Claim::Work => format!("one client whose requests cost {} each", work(conclusion)),
        _ => "one greedy client".to_string(),
    };
    Some(format!(
        "beside {who} the others wait {} for half of their answers instead of {}, and {} for the slowest of a hundred instead of \
         {} (p99: {})",
        told(&RESPONSE_P50, true, false)?,
        told(&RESPONSE_P50, false, false)?,
        told(&RESPONSE_P99, true, false).unwrap_or_else(nothing),
        told(&RESPONSE_P99, false, false).unwrap_or_else(nothing),
        told(&RESPONSE_P99, true, true).unwrap_or_else(nothing),
    ))
}

fn creation(conclusion: &Conclusion, lines: &[&Line]) -> Option<String> {
    let first_echo = spread(conclusion, lines, 3).unwrap_or_else(nothing);
    Some(format!(
        "a connection costs the server {} us of CPU where it takes as many as it can, and at {} a second a new client has its \
         first echo after {first_echo} (p50)",
        spread(conclusion, lines, 0)?,
        count(paced_rate(conclusion).unwrap_or_default()),
    ))
}

fn memory(conclusion: &Conclusion, lines: &[&Line]) -> Option<String> {
    let of = |place| spread(conclusion, lines, place);
    Some(format!(
        "a silent client takes {}, of which {} in the kernel; {} clients make {} and {}",
        of(0)?,
        of(1).unwrap_or_else(nothing),
        count(conclusion.columns[0].workload.clients.into()),
        number_of(conclusion, lines, 2, "process", "processes"),
        number_of(conclusion, lines, 3, "thread", "threads"),
    ))
}

/// `1 process`, `1,001 threads`, `1 (event-epoll) to 3 (event-glommio) threads`.
fn number_of(conclusion: &Conclusion, lines: &[&Line], place: usize, one: &str, many: &str) -> String {
    let told = spread(conclusion, lines, place).unwrap_or_else(nothing);
    let word = if told == "1" { one } else { many };
    format!("{told} {word}")
}

fn switching(conclusion: &Conclusion, lines: &[&Line]) -> Option<String> {
    let places = |is_switches: bool| -> Vec<usize> {
        let columns = (0..).zip(&conclusion.columns);
        let wanted = columns.filter(|(_, column)| (column.quantity.name == SWITCHES_PER_MESSAGE.name) == is_switches);
        wanted.map(|(place, _)| place).collect()
    };
    let at = |place: &usize| {
        let clients = count(conclusion.columns[*place].workload.clients.into());
        Some((spread(conclusion, lines, *place)?, clients))
    };
    let ends = |unit: &str, places: &[usize]| -> Option<String> {
        let known: Vec<(String, String)> = places.iter().filter_map(at).collect();
        let (figure, clients) = known.first()?;
        let first = format!("{figure} {unit} with {clients} clients");
        Some(match &known[1..] {
            [] => first,
            [.., (figure, clients)] => format!("{first} and {figure} with {clients}"),
        })
    };
    let switches = ends("context switches per message", &places(true));
    let rates = ends("messages/s", &places(false));
    let both: Vec<String> = switches.into_iter().chain(rates).collect();
    (!both.is_empty()).then(|| both.join("; "))
}

/// `1.20 ms`, or of several targets `1.20 ms (event-epoll) to 3.40 ms (event-smol)`; None where none of them has it.
fn spread(conclusion: &Conclusion, lines: &[&Line], place: usize) -> Option<String> {
    let column = &conclusion.columns[place];
    let known = lines
        .iter()
        .filter_map(|line| Some((line.target.as_str(), line.cells.get(place)?.known()?)));
    let mut known: Vec<(&str, Known)> = known.collect();
    known.sort_by(|(_, one), (_, other)| one.figure.total_cmp(&other.figure));
    let (first, last) = (known.first()?, known.last()?);
    let (least, most) = (amount(column, first.1.figure), amount(column, last.1.figure));
    Some(match least == most {
        true => least,
        false => format!("{least} ({}) to {most} ({})", first.0, last.0),
    })
}

fn nothing() -> String {
    "n/a".to_string()
}
