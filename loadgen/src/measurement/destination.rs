//! Where one result goes that the user named: stdout, a new file, or something that is there already and stays what it is.
//! Folders of many records are [`super::store`]'s.

use super::store;
use crate::failure::Failure;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A place that has been found writable.
#[derive(Debug)]
pub enum Destination {
    /// `-` and `/dev/stdout`.
    Stdout,
    /// A file that is new, or replaced as a whole.
    Replaced(PathBuf),
    /// A device, a FIFO, what a symbolic link leads to, a file in a folder that takes no new ones.
    InPlace(PathBuf, File),
}

impl Destination {
    /// Finds out before anything is measured whether `bytes_needed` can be written there. A file keeps what it holds
    /// until [`Self::write`].
    ///
    /// # Errors
    /// [`crate::failure::Exit::Unwritable`], naming the path.
    pub fn prepare(path: &Path, bytes_needed: u64) -> Result<Self, Failure> {
        if path == Path::new("-") || path == Path::new("/dev/stdout") {
            return Ok(Self::Stdout);
        }
        let in_place = || open_in_place(path).map(|file| Self::InPlace(path.to_path_buf(), file));
        match fs::symlink_metadata(path) {
            Ok(there) if there.is_dir() => Err(unwritable(path, &ErrorKind::IsADirectory.into())),
            Ok(there) if !there.is_file() => in_place().map_err(|error| unwritable(path, &error)),
            found => {
                let replaced =
                    store::probe(store::folder_of(path), bytes_needed).map(|()| Self::Replaced(path.to_path_buf()));
                replaced.or_else(|failure| {
                    if found.is_err() {
                        return Err(failure);
                    }
                    // A full disk takes a text no better in the old file's place, and would cost the old one.
                    store::check_room(path, bytes_needed)?;
                    in_place().map_err(|_| failure)
                })
            }
        }
    }

    #[must_use]
    pub fn is_stdout(&self) -> bool {
        matches!(self, Self::Stdout)
    }

    /// Writes the whole text. A reader of stdout that has gone away is no failure.
    ///
    /// # Errors
    /// [`crate::failure::Exit::Unwritable`], naming the path.
    pub fn write(self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Stdout => match io::stdout()
                .write_all(text.as_bytes())
                .and_then(|()| io::stdout().flush())
            {
                Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(unwritable(Path::new("stdout"), &error)),
                _ => Ok(()),
            },
            Self::InPlace(path, file) => write_in_place(file, text).map_err(|error| unwritable(&path, &error)),
            Self::Replaced(path) => store::write_atomically(&path, text).or_else(|failure| {
                // A mount point cannot be replaced, but can be written. Where there is no room the old file stays whole.
                let has_room = store::probe(store::folder_of(&path), text.len() as u64).is_ok();
                let file = if has_room && path.is_file() {
                    open_in_place(&path)
                } else {
                    Err(ErrorKind::NotFound.into())
                };
                file.and_then(|file| write_in_place(file, text)).map_err(|_| failure)
            }),
        }
    }
}

/// A FIFO without a reader is an error (ENXIO) and no wait for ever.
fn open_in_place(path: &Path) -> io::Result<File> {
    let flags = OFlag::O_NONBLOCK.bits();
    // A symbolic link may lead to a file that is not there yet.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(flags)
        .open(path)?;
    fcntl(&file, FcntlArg::F_SETFL(OFlag::empty()))?;
    Ok(file)
}

fn write_in_place(mut file: File, text: &str) -> io::Result<()> {
    let kind = file.metadata()?.file_type();
    if kind.is_file() {
        file.set_len(0)?;
    }
    file.write_all(text.as_bytes())?;
    if kind.is_file() || kind.is_block_device() {
        file.sync_all()
    } else {
        Ok(())
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Failure {
    Failure::unwritable(format!("{} cannot be written: {error}", path.display()))
}
