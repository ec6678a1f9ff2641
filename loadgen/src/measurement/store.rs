//! Where records are kept: `results/<date>-<label>-<suite>/`. Nothing is ever overwritten but what reports make again.
//!
//! Every file goes to a temporary file in its own directory, is synced, renamed, and the directory synced: after a crash
//! or on a full disk the old file is whole or the new one is, never half of either. Reads no clock: dates come from the caller.

use super::half_written::in_writing;
use crate::failure::Failure;
use crate::record::{Measurement, SCHEMA_VERSION};
use nix::sys::statvfs::statvfs;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Name of the file that says what a suite compares; see [`crate::suite::matrix::SuiteFile`].
pub const SUITE_FILE: &str = "suite.json";

/// Name of the file that says what a sweep measures; see [`crate::suite::sweep::SweepFile`].
pub const SWEEP_FILE: &str = "sweep.json";

/// Name of the file that says which suites a folder holds; see [`crate::suite::full::FullFile`].
pub const FULL_FILE: &str = "full.json";

/// Folder of the records inside a suite's folder.
pub(super) const RECORDS: &str = "records";

/// One suite's folder and the records in it.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    records: Vec<Stored>,
}

/// A record and the name of its file, relative to the suite's folder.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    pub file: String,
    pub measurement: Measurement,
}

impl Store {
    /// Makes `results/<date>-<label>-<suite>/`, with `-2`, `-3` ... appended where that exists, and proves that it can be
    /// written before anything is measured. `bytes_needed` is what the suite will write at most.
    ///
    /// # Errors
    /// [`crate::failure::Exit::Unwritable`], naming the path.
    pub fn create(results: &Path, date: &str, label: &str, suite: &str, bytes_needed: u64) -> Result<Self, Failure> {
        fs::create_dir_all(results).map_err(|error| unwritable(results, &error))?;
        probe(results, bytes_needed)?;
        Self::begun(make_new_folder(results, &format!("{date}-{label}-{suite}"))?)
    }

    /// Makes a folder inside that of several suites.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn create_inside(whole: &Path, suite: &str) -> Result<Self, Failure> {
        Self::begun(make_new_folder(whole, suite)?)
    }

    fn begun(folder: PathBuf) -> Result<Self, Failure> {
        let records = folder.join(RECORDS);
        fs::create_dir(&records).map_err(|error| unwritable(&records, &error))?;
        Ok(Self {
            folder,
            records: Vec::new(),
        })
    }

    /// Opens a suite's folder with all its records, in the order in which they were made.
    ///
    /// # Errors
    /// When the folder is no suite's folder, or a record cannot be read or is of another major version.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        Self::open_with(folder, SUITE_FILE, "loadgen compare")
    }

    /// The same for the folder of a sweep.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_sweep(folder: &Path) -> Result<Self, Failure> {
        Self::open_with(folder, SWEEP_FILE, "loadgen sweep")
    }

    fn open_with(folder: &Path, file: &str, verb: &str) -> Result<Self, Failure> {
        if !folder.join(file).is_file() {
            return Err(Failure::usage(format!(
                "{} is no folder that `{verb}` made: it has no {file}",
                folder.display()
            )));
        }
        let mut records = Vec::new();
        for name in names_of_records(&folder.join(RECORDS))? {
            let file = format!("{RECORDS}/{name}");
            let measurement = read_record(&folder.join(&file))?;
            records.push(Stored { file, measurement });
        }
        records.sort_by_key(|stored| {
            let place = stored.measurement.identity.suite.as_ref();
            place.map(|place| (place.round, place.position))
        });
        Ok(Self {
            folder: folder.to_path_buf(),
            records,
        })
    }

    /// The same, once it is sure that more can be written to it.
    ///
    /// # Errors
    /// [`crate::failure::Exit::Unwritable`], naming the path.
    pub fn probed(self, bytes_needed: u64) -> Result<Self, Failure> {
        probe(&self.folder, bytes_needed)?;
        Ok(self)
    }

    /// Removes the folder again, in which nothing was kept.
    pub fn discard(self) {
        debug_assert!(self.records.is_empty(), "a record is never thrown away");
        // What stays behind is empty, and says so.
        let _ = fs::remove_dir_all(&self.folder);
    }

    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder's own name, e.g. `2026-01-31-2cpu-linux-6.18-default`.
    #[must_use]
    pub fn name(&self) -> String {
        let folder = self.folder.canonicalize().unwrap_or_else(|_| self.folder.clone());
        folder
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    /// Has each record judged again, for what only the folder as a whole can tell. The files stay as they are.
    pub fn judge_again(&mut self, judge: impl Fn(&mut Measurement)) {
        for stored in &mut self.records {
            judge(&mut stored.measurement);
        }
    }

    #[must_use]
    pub fn records(&self) -> &[Stored] {
        &self.records
    }

    /// Keeps a trial of a suite. It is held in memory even where writing fails, so that the tables lose nothing.
    ///
    /// # Errors
    /// [`crate::failure::Exit::Unwritable`], naming the path.
    pub fn keep(&mut self, measurement: Measurement) -> Result<(), Failure> {
        let file = self.free_name(&record_name(&measurement));
        let path = self.folder.join(&file);
        let text = pretty_json(&measurement);
        self.records.push(Stored { file, measurement });
        write_new(&path, &text)
    }

    /// The name, numbered where another record has it: of two targets that differ in no letter that a file may have.
    fn free_name(&self, name: &str) -> String {
        let numbered = |number: u32| match number {
            1 => format!("{RECORDS}/{name}.json"),
            number => format!("{RECORDS}/{name}-{number}.json"),
        };
        let is_free = |file: &String| !self.records.iter().any(|stored| stored.file.eq_ignore_ascii_case(file));
        (1..).map(numbered).find(is_free).unwrap_or_default()
    }

    /// Writes a file of the folder that may be made again: a report, or [`SUITE_FILE`]. One that says the same already stays: a
    /// folder has some thirty, and each that is written waits for the disk.
    ///
    /// # Errors
    /// [`crate::failure::Exit::Unwritable`], naming the path.
    pub fn write_again(&self, name: &str, text: &str) -> Result<(), Failure> {
        let path = self.folder.join(name);
        let is_there = fs::read(&path).is_ok_and(|known| known == text.as_bytes());
        if is_there {
            Ok(())
        } else {
            write_atomically(&path, text)
        }
    }

    /// Reads a JSON file of the folder.
    ///
    /// # Errors
    /// When it is missing or holds something else, naming the path.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<T, Failure> {
        let path = self.folder.join(name);
        serde_json::from_str(&read(&path)?)
            .map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))
    }
}

/// Replaces `path` as a whole or leaves it as it was.
///
/// # Errors
/// [`crate::failure::Exit::Unwritable`], naming the path.
pub fn write_atomically(path: &Path, text: &str) -> Result<(), Failure> {
    write_synced(path, text, |file, path| file.persist(path).map_err(|error| error.error))
}

/// Proves that a file can be made in `folder`, before anything is measured for it, and that `bytes_needed` fit.
///
/// # Errors
/// [`crate::failure::Exit::Unwritable`], naming the path.
pub fn probe(folder: &Path, bytes_needed: u64) -> Result<(), Failure> {
    // Asked first, because the name of a temporary file would only confuse.
    fs::read_dir(folder).map_err(|error| unwritable(folder, &error))?;
    let written = in_writing(folder, |mut file| {
        file.write_all(b"?")?;
        file.as_file().sync_all()?;
        file.close()
    });
    written.map_err(|error| unwritable(folder, &error))?;
    check_room(folder, bytes_needed)
}

/// Whether the file system of `place`, a folder or a file, says that `bytes_needed` fit.
///
/// # Errors
/// [`crate::failure::Exit::Unwritable`], naming the path.
pub fn check_room(place: &Path, bytes_needed: u64) -> Result<(), Failure> {
    // A file system that does not say how full it is takes what fits: go on.
    let Ok(space) = statvfs(place) else { return Ok(()) };
    let free = space.blocks_available().saturating_mul(space.fragment_size());
    if free < bytes_needed {
        return Err(Failure::unwritable(format!(
            "results cannot be kept in {}: {} MiB are free there and up to {} MiB are needed; make room or choose another place (--results or --output)",
            place.display(),
            free >> 20,
            bytes_needed.div_ceil(1 << 20),
        )));
    }
    Ok(())
}

/// Reads a record of the same major version.
///
/// # Errors
/// One sentence naming the path and what is wrong with it.
pub fn read_record(path: &Path) -> Result<Measurement, Failure> {
    parse_record(&read(path)?).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// Reads a record's text.
///
/// # Errors
/// One sentence: of another major version, or not a record. A missing field is an error, not a default.
pub fn parse_record(text: &str) -> Result<Measurement, String> {
    // The version first: a record of another layout should say so, and not which field it lacks.
    #[derive(serde::Deserialize)]
    struct Version {
        schema_version: String,
    }
    let Version { schema_version } =
        serde_json::from_str(text).map_err(|error| format!("this is no record of loadgen: {error}"))?;
    let major = |version: &str| version.split('.').next().and_then(|major| major.parse::<u32>().ok());
    let ours = major(SCHEMA_VERSION).expect("our own version is a version");
    match major(&schema_version) {
        None => return Err(format!("`{schema_version}` is no schema version")),
        Some(theirs) if theirs > ours => {
            return Err(format!(
                "the record has schema version {schema_version}, made by a newer loadgen; this one reads {ours}.x: use a newer loadgen"
            ));
        }
        Some(theirs) if theirs < ours => {
            return Err(format!(
                "the record has schema version {schema_version}, made by an older loadgen; this one reads {ours}.x: report it with the loadgen that made it"
            ));
        }
        Some(_) => {}
    }
    serde_json::from_str(text).map_err(|error| format!("the record is damaged: {error}"))
}

/// `round-01-fork-light`; the A/A control is `round-01-fork-again-light`, an extra try ends in `-retry-1`.
fn record_name(measurement: &Measurement) -> String {
    let target = file_name(&measurement.plan.target);
    let workload = file_name(&measurement.workload);
    let Some(place) = &measurement.identity.suite else {
        return format!("{target}-{workload}");
    };
    let at = place
        .at
        .map_or_else(String::new, |at| format!("-{}", file_name(&at.to_string())));
    let again = if place.control { "-again" } else { "" };
    let retry = match place.attempt {
        0 | 1 => String::new(),
        attempt => format!("-retry-{}", attempt - 1),
    };
    format!("round-{:02}-{target}{at}{again}-{workload}{retry}", place.round)
}

/// The text as a part of a file's name that every file system takes: colons and slashes of addresses, blanks and letters
/// beyond ASCII become dashes, and a long one is cut.
#[must_use]
pub fn file_name(text: &str) -> String {
    const LONGEST: usize = 80;
    let fitting = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    let letters = text.chars().map(|letter| if fitting(letter) { letter } else { '-' });
    letters
        .take(LONGEST)
        .collect::<String>()
        .trim_matches(['-', '.'])
        .to_string()
}

fn names_of_records(folder: &Path) -> Result<Vec<String>, Failure> {
    let cannot = |error: io::Error| Failure::usage(format!("{} cannot be read: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(cannot)? {
        let name = entry.map_err(cannot)?.file_name().to_string_lossy().into_owned();
        // A temporary file that a crash left behind begins with a dot.
        if name.ends_with(".json") && !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Makes the folder itself the lock: of two runs that start together each gets its own.
pub(super) fn make_new_folder(results: &Path, name: &str) -> Result<PathBuf, Failure> {
    let mut folder = results.join(name);
    for number in 2_u32.. {
        match fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                folder = results.join(format!("{name}-{number}"))
            }
            Err(error) => return Err(unwritable(&folder, &error)),
        }
    }
    Err(Failure::unwritable(format!(
        "{} has no free number left",
        results.display()
    )))
}

fn write_new(path: &Path, text: &str) -> Result<(), Failure> {
    write_synced(path, text, |file, path| {
        file.persist_noclobber(path).map_err(|error| error.error)
    })
}

fn write_synced(
    path: &Path,
    text: &str,
    rename: impl FnOnce(NamedTempFile, &Path) -> io::Result<File>,
) -> Result<(), Failure> {
    let folder = folder_of(path);
    let written = in_writing(folder, |mut file| {
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        rename(file, path)?;
        File::open(folder)?.sync_all()
    });
    written.map_err(|error| unwritable(path, &error))
}

/// The folder that a file is in.
#[must_use]
pub fn folder_of(path: &Path) -> &Path {
    path.parent()
        .filter(|folder| !folder.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::usage(format!("{} cannot be read: {error}", path.display())))
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::unwritable(format!(
        "results cannot be written to {}: {error}; choose another place (--results or --output)",
        path.display()
    ))
}

/// Indented, with a newline at the end.
///
/// # Panics
/// Never in practice: records are plain data.
#[must_use]
pub fn pretty_json<T: Serialize>(value: &T) -> String {
    let mut text = serde_json::to_string_pretty(value).expect("a record is plain data");
    text.push('\n');
    text
}
