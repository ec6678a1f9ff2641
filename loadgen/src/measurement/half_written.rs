//! Files that are not whole yet: how one is begun, and how what a killed loadgen left of them is found and removed.

use super::store::{FULL_FILE, RECORDS};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// Of files that are not whole yet; no other file begins so.
const IN_WRITING: &str = ".writing-";

/// Does something with a new temporary file. The lock on the folder tells whoever finds the file that its writer lives;
/// the kernel gives it up with the process, however that ends.
pub(super) fn in_writing<T>(folder: &Path, write: impl FnOnce(NamedTempFile) -> io::Result<T>) -> io::Result<T> {
    let held = File::open(folder)?;
    // A file system without locks: nobody will remove anything there.
    let _ = held.lock_shared();
    // 0666 less the umask, like any new file; the default for temporary files is for their owner only.
    let file = tempfile::Builder::new()
        .prefix(IN_WRITING)
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)?;
    write(file)
}

/// Removes what a loadgen that was killed has left half-written in a folder; how many files that were.
#[must_use]
pub fn remove_half_written(folder: &Path) -> usize {
    let Ok(held) = File::open(folder) else { return 0 };
    if held.try_lock().is_err() {
        return 0; // Somebody is writing there now.
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let is_half = |entry: &fs::DirEntry| {
        entry.file_name().to_string_lossy().starts_with(IN_WRITING)
            && entry.file_type().is_ok_and(|kind| kind.is_file())
    };
    entries
        .filter(|entry| is_half(entry) && fs::remove_file(entry.path()).is_ok())
        .count()
}

/// The same for a folder of results: itself, and the folders of comparisons and sweeps in it.
#[must_use]
pub fn remove_half_written_below(results: &Path) -> usize {
    let inside = fs::read_dir(results)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let of_folder = |folder: PathBuf| match folder.join(FULL_FILE).is_file() {
        true => remove_half_written_below(&folder),
        false if folder.join(RECORDS).is_dir() => remove_half_written_of(&folder),
        false => 0,
    };
    remove_half_written(results) + inside.map(of_folder).sum::<usize>()
}

/// The same for the folder of one comparison or sweep.
#[must_use]
pub fn remove_half_written_of(suite: &Path) -> usize {
    remove_half_written(suite) + remove_half_written(&suite.join(RECORDS))
}
