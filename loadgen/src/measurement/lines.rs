//! A file that grows line by line while something is measured. A line is one write: whoever follows the file, or finds it after
//! a kill, meets whole lines only. Results that are written as a whole are [`super::destination`]'s.

use super::store;
use crate::failure::Failure;
use nix::fcntl::OFlag;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// A file that has been found writable; what it held before stays until [`LineFile::begin`].
#[derive(Debug)]
pub struct LineFile {
    path: PathBuf,
    file: File,
    /// Whether it was made here and nothing stands in it: then it goes again.
    is_unused: AtomicBool,
    /// The first line that could not be written; none is written after it.
    failed: Mutex<Option<io::Error>>,
}

impl LineFile {
    /// Finds out whether so many bytes can be written there; makes the file where there is none.
    ///
    /// # Errors
    /// [`crate::failure::Exit::Unwritable`], naming the path.
    pub fn prepare(path: &Path, bytes_needed: u64) -> Result<Self, Failure> {
        let was_there = fs::symlink_metadata(path).is_ok();
        // A FIFO without a reader is an error and no wait for ever, and one that nobody empties holds nothing up later.
        let opened = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(OFlag::O_NONBLOCK.bits())
            .open(path);
        let file = opened.map_err(|error| unwritable(path, &error))?;
        let prepared = Self {
            path: path.to_path_buf(),
            file,
            is_unused: AtomicBool::new(!was_there),
            failed: Mutex::new(None),
        };
        if is_regular(&prepared.file) {
            store::check_room(store::folder_of(path), bytes_needed)?;
        }
        Ok(prepared)
    }

    /// Empties the file and writes what stands before the first line.
    pub fn begin(&self, head: &str) {
        self.is_unused.store(false, Ordering::Relaxed);
        let emptied = if is_regular(&self.file) {
            self.file.set_len(0)
        } else {
            Ok(())
        };
        match emptied {
            Ok(()) => self.write(head),
            Err(error) => self.fail(error),
        }
    }

    /// Writes a line, its end included; at once, so that it is there even if loadgen is killed. One that cannot be written is
    /// told by [`LineFile::end`]: the measurement goes on.
    pub fn write(&self, line: &str) {
        let is_whole = self.failed.lock().is_ok_and(|failed| failed.is_none());
        if is_whole && let Err(error) = (&self.file).write_all(line.as_bytes()) {
            self.fail(error);
        }
    }

    fn fail(&self, error: io::Error) {
        if let Ok(mut failed) = self.failed.lock() {
            *failed = Some(error);
        }
    }

    /// Whether every line could be written.
    ///
    /// # Errors
    /// [`crate::failure::Exit::Unwritable`], naming the path.
    pub fn end(&self) -> Result<(), Failure> {
        let failed = self.failed.lock().ok().and_then(|mut failed| failed.take());
        failed.map_or(Ok(()), |error| Err(unwritable(&self.path, &error)))
    }
}

impl Drop for LineFile {
    fn drop(&mut self) {
        if self.is_unused.load(Ordering::Relaxed) {
            // An empty file would tell of a measurement that never was.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn is_regular(file: &File) -> bool {
    file.metadata().is_ok_and(|about| about.is_file())
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    let reason = match error.kind() {
        io::ErrorKind::WouldBlock => "its reader does not keep up".to_string(),
        _ => error.to_string(),
    };
    Failure::unwritable(format!("{} cannot be written: {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    #[test]
    fn a_file_keeps_what_it_holds_until_the_lines_begin_and_has_each_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.csv");
        fs::write(&path, "what was there before, and longer\n").unwrap();
        let file = LineFile::prepare(&path, 1).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap().lines().count(), 1);
        file.begin("head\n");
        file.write("1\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "head\n1\n");
        file.end().unwrap();
    }

    #[test]
    fn a_file_that_was_made_and_not_begun_is_gone_again_and_one_that_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let (new, old) = (folder.path().join("new.csv"), folder.path().join("old.csv"));
        fs::write(&old, "old\n").unwrap();
        for path in [&new, &old] {
            let file = LineFile::prepare(path, 1).unwrap();
            assert!(path.exists());
            drop(file);
        }
        assert!(!new.exists() && old.exists());
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_path_buf(), folder.path().join("none/a.csv")] {
            let failure = LineFile::prepare(&path, 1).unwrap_err();
            assert_eq!(failure.exit, Exit::Unwritable);
            assert!(failure.text.contains(&path.display().to_string()), "{failure}");
        }
        let file = LineFile::prepare(Path::new("/dev/full"), 1).unwrap();
        file.write("1\n");
        file.write("2\n");
        let failure = file.end().unwrap_err();
        assert_eq!(failure.exit, Exit::Unwritable);
        assert!(failure.text.contains("/dev/full"), "{failure}");
    }
}
