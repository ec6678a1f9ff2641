//! The server binaries: beside loadgen's own, built first when cargo is at hand, so that nothing stale is measured.

use crate::failure::Failure;
use crate::interrupt;
use crate::notice::notice;
use echo_contract::catalog::TARGETS;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use std::env;
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::io::{self, BufRead as _, BufReader, IsTerminal as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

/// Measured on the machine of the published results: two CPUs, nothing downloaded or built yet.
const FIRST_BUILD_MIN: u32 = 3;
/// How often a wait for a build looks again.
const LOOK: Duration = Duration::from_millis(20);

/// The folder of the server binaries. Builds them first when cargo started loadgen or one is missing, unless
/// `no_build`; once in a process. Safe to call from several processes at once.
///
/// # Errors
/// When the build fails. A binary that is missing and cannot be built is an error only when it is needed.
pub fn server_directory(no_build: bool) -> Result<PathBuf, Failure> {
    static BUILT: Mutex<bool> = Mutex::new(false);
    let place = Place::of(&own_executable()?);
    let mut is_built = BUILT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let is_wanted = variable("CARGO").is_some() || !place.has_all_binaries();
    if is_wanted
        && !no_build
        && !*is_built
        && let Some(root) = workspace_root(&place.binaries)
    {
        *is_built = place.build(&root)?;
    }
    Ok(place.binaries)
}

/// Path of one server binary.
///
/// # Errors
/// Unreachable, with the command that builds it.
pub(super) fn server_binary(directory: &Path, name: &str) -> Result<PathBuf, Failure> {
    let path = directory.join(name);
    if path.is_file() {
        return Ok(path);
    }
    let flag = Place::of(&own_executable()?).profile_flags().join(" ");
    Err(Failure::unreachable(format!(
        "no `{name}` beside loadgen: build the servers with `cargo build --workspace --bins {flag}`"
    )))
}

/// loadgen's executable, also when the caller is a test.
///
/// # Errors
/// When there is none.
pub(super) fn loadgen_executable(directory: &Path) -> Result<PathBuf, Failure> {
    let own = own_executable()?;
    if own.file_stem().is_some_and(|name| name == "loadgen") {
        return Ok(own);
    }
    server_binary(directory, "loadgen")
}

/// The path of this process's executable, even if a build has replaced the file since.
fn own_executable() -> Result<PathBuf, Failure> {
    let path = env::current_exe().map_err(|error| Failure::fault(format!("own executable: {error}")))?;
    Ok(match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => path.into(),
        None => path,
    })
}

/// Where cargo put an executable: `TARGET_DIRECTORY/[TRIPLE/]PROFILE/[deps/]NAME`.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    /// The folder of the binaries.
    binaries: PathBuf,
}

impl Place {
    fn of(executable: &Path) -> Self {
        let folder = executable.parent().unwrap_or(Path::new("."));
        // Tests lie one level deeper.
        let is_test = folder.ends_with("deps") || folder.ends_with("examples");
        let binaries = if is_test {
            folder.parent().unwrap_or(folder)
        } else {
            folder
        };
        Self {
            binaries: binaries.to_owned(),
        }
    }

    fn has_all_binaries(&self) -> bool {
        TARGETS.iter().all(|row| self.binaries.join(row.binary).is_file())
    }

    /// Flags that make cargo build the same profile again.
    fn profile_flags(&self) -> Vec<String> {
        match self.binaries.file_name().and_then(|name| name.to_str()) {
            Some("debug") | None => Vec::new(),
            Some("release") => vec!["--release".into()],
            Some(profile) => vec!["--profile".into(), profile.into()],
        }
    }

    /// Flags that make cargo put the binaries into the same folder.
    fn folder_flags(&self) -> Vec<OsString> {
        let Some(parent) = self.binaries.parent() else {
            return Vec::new();
        };
        // Only the target directory itself has this file; between it and the profile may be a target triple.
        let above = parent.parent().filter(|above| above.join(".rustc_info.json").exists());
        match (parent.join(".rustc_info.json").exists(), above, parent.file_name()) {
            (false, Some(above), Some(triple)) => {
                vec!["--target-dir".into(), above.into(), "--target".into(), triple.into()]
            }
            _ => vec!["--target-dir".into(), parent.into()],
        }
    }

    /// Builds all servers; whether that was possible at all.
    fn build(&self, root: &Path) -> Result<bool, Failure> {
        let parent = self.binaries.parent().unwrap_or(&self.binaries);
        let lock = File::create(parent.join(".loadgen-build.lock"));
        // Two cargos would wait for each other anyway; the lock keeps their output apart and the second a no-op.
        if let Ok(lock) = &lock {
            wait_for(lock)?;
        }
        let cargo = variable("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(&cargo);
        command
            .args(["build", "--workspace", "--bins", "--manifest-path"])
            .arg(root.join("Cargo.toml"))
            .args(self.profile_flags())
            .args(self.folder_flags())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(if io::stderr().is_terminal() {
                Stdio::inherit()
            } else {
                Stdio::piped()
            })
            // Ctrl-C is for loadgen, which ends the build with all that it has started.
            .process_group(0);
        notice(format_args!(
            "building servers (first time about {FIRST_BUILD_MIN} min)"
        ));
        let Ok(mut build) = command.spawn() else {
            // No cargo here: what is there is used, what is missing is named when it is needed.
            return Ok(false);
        };
        // Where nobody reads it any more cargo would fail over what it has to say.
        if let Some(said) = build.stderr.take() {
            thread::spawn(|| BufReader::new(said).lines().map_while(Result::ok).for_each(notice));
        }
        let status = await_build(&mut build)?;
        if status.success() {
            return Ok(true);
        }
        Err(Failure::unreachable(format!(
            "the servers could not be built: see the messages of `cargo build --workspace --bins {}` above",
            self.profile_flags().join(" ")
        )))
    }
}

/// Waits for the lock that another loadgen holds while it builds.
fn wait_for(lock: &File) -> Result<(), Failure> {
    while let Err(TryLockError::WouldBlock) = lock.try_lock() {
        if interrupt::asked() {
            return Err(Failure::interrupted());
        }
        interrupt::sleep(LOOK);
    }
    Ok(())
}

/// Waits for cargo; when the user wants to stop, ends it and its compilers.
fn await_build(build: &mut Child) -> Result<ExitStatus, Failure> {
    loop {
        let ended = build.try_wait();
        if let Some(status) = ended.map_err(|error| Failure::fault(format!("waiting for cargo: {error}")))? {
            return Ok(status);
        }
        if interrupt::asked() {
            let group = Pid::from_raw(build.id().cast_signed());
            // Half a file that a compiler leaves behind is no file to cargo.
            let _ = killpg(group, Signal::SIGTERM);
            let _ = build.wait();
            return Err(Failure::interrupted());
        }
        interrupt::sleep(LOOK);
    }
}

/// An environment variable; one that is empty is none.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The folder of the workspace's manifest, found upwards from `start` or from the package that cargo runs.
fn workspace_root(start: &Path) -> Option<PathBuf> {
    let package = variable("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let is_root = |folder: &&Path| {
        let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == "[workspace]") && folder.join("echo-contract").is_dir()
    };
    [package.as_deref(), Some(start)]
        .into_iter()
        .flatten()
        .find_map(|start| start.ancestors().find(is_root))
        .map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(executable: &str) -> Place {
        Place::of(Path::new(executable))
    }

    #[test]
    fn servers_lie_beside_loadgen_and_one_level_above_a_test() {
        assert_eq!(place("/t/release/loadgen").binaries, Path::new("/t/release"));
        assert_eq!(place("/t/debug/deps/spawn-0f"), place("/t/debug/loadgen"));
    }

    #[test]
    fn the_profile_is_the_one_loadgen_was_built_with() {
        assert_eq!(place("/t/release/loadgen").profile_flags(), ["--release"]);
        assert!(place("/t/debug/loadgen").profile_flags().is_empty());
        assert_eq!(place("/t/tiny/loadgen").profile_flags(), ["--profile", "tiny"]);
    }

    #[test]
    fn the_target_folder_is_found_past_a_target_triple() {
        let target = tempfile::tempdir().unwrap();
        fs::write(target.path().join(".rustc_info.json"), "{}").unwrap();
        let direct = Place {
            binaries: target.path().join("debug"),
        };
        assert_eq!(
            direct.folder_flags(),
            [OsString::from("--target-dir"), target.path().into()]
        );
        let cross = Place {
            binaries: target.path().join("aarch64-unknown-linux-gnu/debug"),
        };
        assert_eq!(
            cross.folder_flags(),
            [
                "--target-dir".into(),
                target.path().into(),
                "--target".into(),
                OsString::from("aarch64-unknown-linux-gnu")
            ]
        );
    }

    #[test]
    fn the_workspace_is_found_from_this_package() {
        assert!(workspace_root(Path::new("/")).unwrap().join("loadgen").is_dir());
    }
}
