//! `loadgen publish DIR`: a comparison's tables into the tracked files, and its folder into git's sight; or the page of a fault
//! matrix.
//!
//! The only verb that changes tracked files. It checks everything first, so that a refusal has changed nothing.

use crate::failure::Failure;
use crate::measurement::store::{Store, write_atomically};
use crate::record::FaultMatrix;
use crate::report::{faults, models};
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, check_one_mode, check_one_network};
use std::fmt::Display;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What was typed.
#[derive(Clone, Debug, clap::Args)]
pub struct PublishArgs {
    /// A folder in results/ that `loadgen compare` made, or the fault matrix in results/ as JSON
    #[arg(value_name = "DIR|FILE")]
    pub folder: PathBuf,
}

/// Splices the folder's tables into README.md, results/README.md, results/models.md and results/runtimes.md, and takes
/// the folder out of results/.gitignore; `out` hears what was written.
///
/// # Errors
/// When the folder has no whole valid round, or a file lacks its markers; nothing is changed then.
pub fn run(args: &PublishArgs, out: &mut dyn Write) -> Result<(), Failure> {
    let folder = args
        .folder
        .canonicalize()
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", args.folder.display())))?;
    if folder.is_file() {
        return fault_matrix(&folder, out);
    }
    let (file, store) = super::open_suite(&folder)?;
    check_one_mode(&file.suite, store.records())?;
    check_one_network(store.records())?;
    let found = Results::of(&file.suite, store.records());
    check_publishable(&file, &found, &store)?;
    let results = folder
        .parent()
        .ok_or_else(|| Failure::usage("publish needs a folder inside results/"))?;
    let root = results
        .parent()
        .ok_or_else(|| Failure::usage("publish needs a folder inside the project's results/"))?;
    let ignore = tracked(results, &store.name())?;
    let index = index(results, &ignore)?;
    let (models, runtimes) = (models::models(&file, &found), models::runtimes(&file, &found));
    let findings = models::findings(&file, &found, &format!("results/{}", store.name()));
    let written = [
        spliced(
            &root.join("README.md"),
            &[("findings", &findings), ("runtimes", &runtimes)],
        )?,
        spliced(&results.join("README.md"), &[("index", &index)])?,
        spliced(&results.join("models.md"), &[("models", &models)])?,
        spliced(&results.join("runtimes.md"), &[("runtimes", &runtimes)])?,
        (results.join(".gitignore"), ignore),
    ];
    for (path, text) in &written {
        write_atomically(path, text)?;
    }
    // A closed stdout (`| head`) is a quiet end.
    for (path, _) in &written {
        let _ = writeln!(out, "wrote      {}", path.strip_prefix(root).unwrap_or(path).display());
    }
    let _ = writeln!(out, "tracked    results/{}: add it with git", store.name());
    Ok(())
}

/// Writes the page of a fault matrix, `faults.md` beside its file.
fn fault_matrix(stored: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let refused = |why: &dyn Display| {
        Failure::usage(format!(
            "{} cannot be published: {why}. Give it the file of `loadgen verify --faults --output FILE.json`",
            stored.display()
        ))
    };
    let text = fs::read_to_string(stored).map_err(|error| refused(&error))?;
    let matrix: FaultMatrix = serde_json::from_str(&text).map_err(|error| refused(&error))?;
    if matrix.kind != FaultMatrix::KIND {
        return Err(refused(&format!(
            "it is a {}, not a {}",
            matrix.kind,
            FaultMatrix::KIND
        )));
    }
    if !matrix.complete {
        return Err(refused(&"it was interrupted, and rows are missing"));
    }
    let page = stored.with_file_name("faults.md");
    write_atomically(&page, &faults::page(&matrix))?;
    let _ = writeln!(out, "wrote      {}", page.display());
    Ok(())
}

/// Refuses what nobody should read as a result, naming why.
fn check_publishable(file: &SuiteFile, results: &Results, store: &Store) -> Result<(), Failure> {
    if let Some(load) = &file.suite.load {
        return Err(Failure::usage(format!(
            "{} cannot be published: its workloads but `{}` have another rate for each target, and the tracked tables compare \
             targets under the same. Its own README.md has its tables",
            store.folder().display(),
            load.workload
        )));
    }
    if let Some(dimension) = &file.suite.dimension {
        return Err(Failure::usage(format!(
            "{} cannot be published: it compares its targets at several values of {}, and the tracked tables have one row for              each target. Its own README.md has its tables",
            store.folder().display(),
            dimension.flag()
        )));
    }
    if results.has_whole_valid_round(&file.suite, store.records()) {
        return Ok(());
    }
    let reason = results.invalid.first().map_or_else(
        || "no round ran to its end".to_string(),
        |trial| {
            format!(
                "{} of {} trials are invalid, the first ({}, {}, round {}) because: {}",
                results.invalid.len(),
                results.trials,
                trial.target,
                trial.workload,
                trial.round,
                trial.reasons.join("; ")
            )
        },
    );
    Err(Failure::usage(format!(
        "{} cannot be published: it has no round in which every target was valid under every workload; {reason}",
        store.folder().display()
    )))
}

/// results/.gitignore with this folder excepted.
fn tracked(results: &Path, name: &str) -> Result<String, Failure> {
    let path = results.join(".gitignore");
    let mut text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => IGNORE.to_string(),
        Err(error) => return Err(Failure::usage(format!("{} cannot be read: {error}", path.display()))),
    };
    let line = format!("!/{name}/");
    if !text.lines().any(|known| known.trim() == line) {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&line);
        text.push('\n');
    }
    Ok(text)
}

/// What results/.gitignore begins with.
const IGNORE: &str = "# New comparisons are ignored; `loadgen publish DIR` adds the exception of one folder.\n/*/\n";

/// One row per folder that git tracks, newest first.
fn index(results: &Path, ignore: &str) -> Result<String, Failure> {
    let mut names: Vec<&str> = ignore
        .lines()
        .filter_map(|line| line.trim().strip_prefix("!/")?.strip_suffix('/'))
        .collect();
    names.sort_unstable();
    names.dedup();
    let mut text = models::INDEX_HEAD.to_string();
    for name in names.iter().rev() {
        let folder = results.join(name);
        // An exception may outlive its folder.
        if !folder.is_dir() {
            continue;
        }
        let (file, store) = super::open_suite(&folder)?;
        let found = Results::of(&file.suite, store.records());
        text.push_str(&models::index_row(name, &file, &found));
    }
    Ok(text)
}

/// The file with each part between its markers replaced.
fn spliced(path: &Path, parts: &[(&str, &str)]) -> Result<(PathBuf, String), Failure> {
    let mut text = fs::read_to_string(path)
        .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))?;
    for (name, part) in parts {
        text = splice(&text, name, part).ok_or_else(|| {
            Failure::usage(format!(
                "{} lacks the lines `{}` and `{}`",
                path.display(),
                begin(name),
                end(name)
            ))
        })?;
    }
    Ok((path.to_path_buf(), text))
}

/// Replaces what stands between the markers of `name`; none where they are missing or crossed.
fn splice(text: &str, name: &str, part: &str) -> Option<String> {
    let from = text.find(&begin_prefix(name))?;
    let from = from + text[from..].find("-->")? + "-->".len();
    let to = from + text[from..].find(&end(name))?;
    Some(format!("{}\n{}\n{}", &text[..from], part.trim_end(), &text[to..]))
}

fn begin_prefix(name: &str) -> String {
    format!("<!-- begin {name}:")
}

fn begin(name: &str) -> String {
    format!("{} made by loadgen publish, do not edit -->", begin_prefix(name))
}

fn end(name: &str) -> String {
    format!("<!-- end {name} -->")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_markers_changes() {
        let text = format!("before\n{}\nold\n{}\nafter\n", begin("models"), end("models"));
        let new = splice(&text, "models", "new\n").unwrap();
        assert_eq!(
            new,
            format!("before\n{}\nnew\n{}\nafter\n", begin("models"), end("models"))
        );
        assert_eq!(splice(&new, "models", "new\n").unwrap(), new);
    }

    #[test]
    fn missing_or_crossed_markers_are_told() {
        assert_eq!(splice("nothing here", "models", "new"), None);
        assert_eq!(
            splice(&format!("{} {}", end("models"), begin("models")), "models", "new"),
            None
        );
    }
}
