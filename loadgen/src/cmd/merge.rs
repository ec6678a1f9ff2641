//! `loadgen merge FILES...`: one record out of those of several generators.

use super::output::Output;
use crate::cmd::arguments::OutputArgs;
use crate::failure::{Exit, Failure};
use crate::measurement::merge::{self, Part};
use crate::measurement::store::read_record;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What was typed.
#[derive(Clone, Debug, clap::Args)]
pub struct MergeArgs {
    /// Records of generators that ran at the same time (see --start-at)
    #[arg(value_name = "FILES", required = true)]
    pub files: Vec<PathBuf>,

    /// How many generators there were; a missing or unreadable record is then named and counted against the verdict
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub expect: Option<u32>,

    #[command(flatten)]
    pub output: OutputArgs,
}

/// Merges, prints, writes. Ok with exit code 0, 4, 5, 6, 7 or 130, as after a run.
///
/// # Errors
/// When the records cannot be read, do not belong together, or there is no place for the result.
pub fn run(args: &MergeArgs) -> Result<Option<Exit>, Failure> {
    let (parts, lost) = gather(args)?;
    let merged = merge::merge(parts, &lost).map_err(|text| Failure::usage(format!("merge: {text}")))?;
    Ok(Output::prepare(&args.output)?.tell(&merged))
}

/// The records that are there, and the names of those that are not.
fn gather(args: &MergeArgs) -> Result<(Vec<Part>, Vec<String>), Failure> {
    let mut parts = Vec::new();
    let mut lost = Vec::new();
    for file in &args.files {
        match read_record(file) {
            Ok(record) => parts.push(Part {
                name: name(file),
                record,
            }),
            Err(failure) if args.expect.is_some() => lost.push(format!("{} ({})", name(file), failure.text)),
            Err(failure) => {
                return Err(Failure::usage(format!(
                    "{}; leave the file out, or give --expect N to count it as a lost generator",
                    failure.text
                )));
            }
        }
    }
    let Some(expected) = args.expect.map(|expected| expected as usize) else {
        return Ok((parts, lost));
    };
    if parts.is_empty() {
        return Err(Failure::usage(format!(
            "merge: of {expected} generators none left a record: {}",
            lost.join(", ")
        )));
    }
    let named = parts.len() + lost.len();
    if named > expected {
        return Err(Failure::usage(format!(
            "--expect {expected} is less than the {named} files given: give the number of all generators"
        )));
    }
    let names: Vec<String> = args.files.iter().map(|file| name(file)).collect();
    lost.extend(missing(&names, expected));
    Ok((parts, lost))
}

/// Names of the generators that no file was given for: the gap in `replica-1.json, replica-2.json, replica-4.json`, else
/// only that it is one.
fn missing(names: &[String], expected: usize) -> Vec<String> {
    let gone = expected.saturating_sub(names.len());
    let mut found = gaps(names, expected);
    if found.len() != gone {
        found = (1..=gone).map(|nth| format!("unnamed generator {nth}")).collect();
    }
    found
}

/// Numbers 1 to `expected`, or 0 to one less, that no name carries; nothing where names are not numbered alike.
fn gaps(names: &[String], expected: usize) -> Vec<String> {
    let split: Option<Vec<(&str, usize, &str)>> = names.iter().map(|name| numbered(name)).collect();
    let Some(split) = split.filter(|split| !split.is_empty()) else {
        return Vec::new();
    };
    let (before, _, after) = split[0];
    if split.iter().any(|(head, _, tail)| (*head, *tail) != (before, after)) {
        return Vec::new();
    }
    let numbers: BTreeSet<usize> = split.iter().map(|(_, number, _)| *number).collect();
    let first = usize::from(!numbers.contains(&0));
    (first..first + expected)
        .filter(|number| !numbers.contains(number))
        .map(|number| format!("{before}{number}{after}"))
        .collect()
}

/// A name around its last number: `replica-`, 3, `.json`.
fn numbered(name: &str) -> Option<(&str, usize, &str)> {
    let end = name.rfind(|letter: char| letter.is_ascii_digit())? + 1;
    let begin = name[..end]
        .rfind(|letter: char| !letter.is_ascii_digit())
        .map_or(0, |at| at + 1);
    Some((&name[..begin], name[begin..end].parse().ok()?, &name[end..]))
}

fn name(file: &Path) -> String {
    file.file_name()
        .unwrap_or(file.as_os_str())
        .to_string_lossy()
        .into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(numbers: &[u32]) -> Vec<String> {
        numbers.iter().map(|number| format!("replica-{number}.json")).collect()
    }

    #[test]
    fn a_gap_in_numbered_files_is_named() {
        assert_eq!(missing(&names(&[1, 2, 4]), 4), ["replica-3.json"]);
        assert_eq!(missing(&names(&[0, 2]), 3), ["replica-1.json"]);
        assert_eq!(missing(&names(&[1, 2]), 2), Vec::<String>::new());
    }

    #[test]
    fn a_gap_that_cannot_be_told_is_counted() {
        assert_eq!(
            missing(&["east.json".into(), "west.json".into()], 3),
            ["unnamed generator 1"]
        );
        assert_eq!(missing(&names(&[7, 9]), 3), ["unnamed generator 1"]);
    }
}
