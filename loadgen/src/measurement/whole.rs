//! The folder of several suites that were measured one after another: a list of them, and a folder for each inside.

use super::store::{FULL_FILE, make_new_folder, pretty_json, probe, write_atomically};
use crate::failure::Failure;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs;
use std::path::{Path, PathBuf};

/// Makes `results/<name>/`, numbered where that exists, as [`super::store::Store::create`] makes the folder of one suite.
///
/// # Errors
/// [`crate::failure::Exit::Unwritable`], naming the path.
pub fn create(results: &Path, name: &str, bytes_needed: u64) -> Result<PathBuf, Failure> {
    fs::create_dir_all(results)
        .map_err(|error| Failure::unwritable(format!("results cannot be written to {}: {error}", results.display())))?;
    probe(results, bytes_needed)?;
    make_new_folder(results, name)
}

/// Writes the list of its suites, which makes it such a folder: last, when all of them are there.
///
/// # Errors
/// [`crate::failure::Exit::Unwritable`], naming the path.
pub fn list<T: Serialize>(folder: &Path, suites: &T) -> Result<(), Failure> {
    write_atomically(&folder.join(FULL_FILE), &pretty_json(suites))
}

/// Whether a folder holds several suites.
#[must_use]
pub fn is_one(folder: &Path) -> bool {
    folder.join(FULL_FILE).is_file()
}

/// The list of its suites.
///
/// # Errors
/// When it is missing or is none, naming the path.
pub fn open<T: DeserializeOwned>(folder: &Path) -> Result<T, Failure> {
    let path = folder.join(FULL_FILE);
    let cannot = |why: String| Failure::usage(format!("{} cannot be read: {why}", path.display()));
    let text = fs::read_to_string(&path).map_err(|error| cannot(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| cannot(error.to_string()))
}
