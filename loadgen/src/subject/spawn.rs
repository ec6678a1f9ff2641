//! One server process that loadgen started: READY, signals, STATS, exit, and nothing left behind.

mod pipes;
mod reap;
mod starting;

pub use reap::Usage;
pub(super) use reap::kill_all;
pub(super) use starting::{Starting, Stdout};

use super::launch;
use crate::environment::network;
use crate::failure::Failure;
use crate::sampler::Cgroup;
use crate::sampler::process::{self, Entry};
use crate::sampler::syscalls::{self, SyscallCounter};
use echo_contract::ready::Ready;
use echo_contract::stats::Stats;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pipes::{Kept, text_of};
use reap::{is_running, reap, tree_of};
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

/// How often a wait looks again.
const POLL: Duration = Duration::from_millis(1);

/// How to start a server.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    /// loadgen's executable, see [`launch`].
    pub(super) launcher: &'a Path,
    pub(super) binary: &'a Path,
    pub(super) arguments: &'a [String],
    /// Set beside loadgen's own environment.
    pub(super) environment: &'a [(String, String)],
    /// Where it starts; none means where loadgen was started.
    pub(super) folder: Option<&'a Path>,
    /// CPUs to pin it to from outside; empty for a server that does so itself, or not at all.
    pub(super) cpus: &'a [usize],
    /// RLIMIT_NOFILE, soft and hard; none leaves it alone.
    pub(super) nofile: Option<u64>,
    /// Its name, which READY must carry where one is awaited.
    pub(super) target: &'a str,
    /// `--workers`, where it is given: more of them take longer to be ready.
    pub(super) workers: Option<u32>,
    /// Whether its system calls are counted.
    pub(super) counts_syscalls: bool,
}

impl Launch<'_> {
    fn command(&self, cgroup: Option<&Cgroup>) -> Command {
        let mut command = launch::command(self, cgroup.into_iter().flat_map(Cgroup::directories));
        let stdin = if self.counts_syscalls {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command
            .stdin(stdin)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for loadgen, which stops the server in its own time.
            .process_group(0);
        command
    }
}

/// A server process; dropping it kills the whole tree and reaps it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pid: Pid,
    /// None for a server that was not asked for one.
    ready: Option<Ready>,
    /// Why there is no cgroup, or the group that holds the server.
    cgroup: Result<Arc<Cgroup>, String>,
    stdout: Receiver<String>,
    /// Of a server without READY also its stdout.
    stderr: Kept,
    ended: Option<Ended>,
    /// Why system calls are not counted, or what counts them.
    syscalls: Result<Arc<SyscallCounter>, String>,
    /// Without a group: what was left of the server's process group when its first process ended.
    orphans: Vec<Entry>,
}

/// How a server ended.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    pub(super) status: ExitStatus,
    pub(super) stats: Option<Stats>,
    pub(super) usage: Usage,
}

impl Running {
    /// Starts a server in a fresh group, or in none for the reason given, and returns when it printed READY.
    ///
    /// # Errors
    /// What went wrong, with the server's stderr.
    pub(super) fn start(launch: &Launch<'_>, cgroup: Result<Cgroup, String>) -> Result<(Self, Ready), String> {
        let until_ready = |starting: &mut Starting| starting.await_ready(launch).map_err(Failure::unreachable);
        let (mut running, ready) =
            Self::start_until(launch, cgroup, Stdout::Lines, until_ready).map_err(|failure| failure.text)?;
        running.ready = Some(ready.clone());
        Ok((running, ready))
    }

    /// As [`Running::start`], and returns when `is_up` says that the server is up, with what it found.
    ///
    /// # Errors
    /// What went wrong, or what `is_up` said.
    pub(super) fn start_until<T>(
        launch: &Launch<'_>,
        cgroup: Result<Cgroup, String>,
        stdout: Stdout,
        is_up: impl FnOnce(&mut Starting) -> Result<T, Failure>,
    ) -> Result<(Self, T), Failure> {
        let cannot_be_run = |error| format!("{} cannot be run: {error}", launch.launcher.display());
        let child =
            spawn(launch.command(cgroup.as_ref().ok())).map_err(|error| Failure::unreachable(cannot_be_run(error)))?;
        let kept = Kept::default();
        let mut starting = Starting::new(child, cgroup, stdout, &kept);
        // The launcher waits for the end of its stdin: it has one thread, no child, and is not the server yet.
        let syscalls = if launch.counts_syscalls {
            SyscallCounter::of_new_process(starting.pid()).map(Arc::new)
        } else {
            Err(syscalls::NOT_ASKED.to_owned())
        };
        starting.go();
        let found = is_up(&mut starting)?;
        let pid = starting.pid();
        let gone = || Failure::unreachable("the server is gone");
        let (child, stdout, cgroup) = starting.take().ok_or_else(gone)?;
        let cgroup = cgroup.and_then(|group| group.keep_joined(pid)).map(Arc::new);
        let running = Self {
            child,
            pid: Pid::from_raw(pid.cast_signed()),
            ready: None,
            cgroup,
            stdout,
            stderr: kept,
            ended: None,
            syscalls,
            orphans: Vec::new(),
        };
        Ok((running, found))
    }

    pub(super) fn ready(&self) -> Option<&Ready> {
        self.ready.as_ref()
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The server's group, or why there is none.
    pub(super) fn cgroup(&self) -> Result<&Arc<Cgroup>, &str> {
        self.cgroup.as_ref().map_err(String::as_str)
    }

    /// What counts its system calls, or why nothing does.
    pub(super) fn syscalls(&self) -> Result<&Arc<SyscallCounter>, &str> {
        self.syscalls.as_ref().map_err(String::as_str)
    }

    /// What the server wrote to stderr, its end if that was much.
    pub(super) fn stderr(&self) -> String {
        text_of(&self.stderr)
    }

    /// Whether it runs. One system call.
    pub(super) fn is_alive(&self) -> bool {
        self.ended.is_none() && is_running(self.pid)
    }

    /// Sends a signal to the first process.
    ///
    /// # Errors
    /// When it is gone.
    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        if self.ended.is_some() {
            return Err(io::ErrorKind::NotFound.into()); // its id may be someone else's by now
        }
        Ok(kill(self.pid, signal)?)
    }

    /// Waits for the exit; none when `limit` ran out first.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub(super) fn wait(&mut self, limit: Duration) -> io::Result<Option<Ended>> {
        self.wait_while(limit, &|| true)
    }

    /// The same; none also when it is not worth the wait any more.
    ///
    /// # Errors
    /// As [`Self::wait`].
    pub(super) fn wait_while(&mut self, limit: Duration, is_worth_it: &dyn Fn() -> bool) -> io::Result<Option<Ended>> {
        let deadline = Instant::now() + limit;
        while self.is_alive() {
            if Instant::now() >= deadline || !is_worth_it() {
                return Ok(None);
            }
            thread::sleep(POLL);
        }
        if self.ended.is_none() {
            // Once it is reaped, its id may come to mean another process, and its group's with it.
            if self.cgroup.is_err() {
                self.orphans = process::of_group(self.pid());
            }
            let (status, usage) = reap(&mut self.child)?;
            let stats = self.last_stats();
            self.ended = Some(Ended { status, stats, usage });
        }
        Ok(self.ended.clone())
    }

    /// Live processes of the server: those in its cgroup, else its tree, or what was left of it.
    pub(super) fn processes(&self) -> Vec<u32> {
        match &self.cgroup {
            Ok(group) => group.processes(),
            Err(_) if self.ended.is_none() => tree_of(self.pid),
            Err(_) => self
                .orphans
                .iter()
                .filter(|orphan| orphan.is_still_there())
                .map(|orphan| orphan.pid)
                .collect(),
        }
    }

    /// Kills what is left of the server until nothing is, and removes its group; how many processes that were.
    pub(super) fn kill_rest(&mut self) -> usize {
        let killed = kill_all(|| self.processes());
        let _ = self.wait(Duration::from_secs(5));
        if let Ok(group) = &self.cgroup {
            group.remove(Duration::from_secs(2));
        }
        killed
    }

    /// The STATS line, which a server prints before it exits.
    fn last_stats(&self) -> Option<Stats> {
        if self.ready.is_none() {
            return self
                .stderr()
                .lines()
                .filter_map(|line| Stats::from_line(line).ok())
                .next_back();
        }
        // The reader may be a moment behind. A child that was left behind keeps the pipe open, hence the limit.
        let deadline = Instant::now() + Duration::from_millis(500);
        let mut stats = None;
        while let Ok(line) = self
            .stdout
            .recv_timeout(deadline.saturating_duration_since(Instant::now()))
        {
            stats = Stats::from_line(&line).ok().or(stats);
            if stats.is_some() {
                break;
            }
        }
        stats
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill_rest();
    }
}

/// Starts a process where the calling thread is. PR_SET_PDEATHSIG fires when the *thread* ends that started the process, not
/// when the whole process does; so the starting thread is one that lives as long as loadgen does, unless the caller is in
/// a network of its own: then it is the thread of a whole trial, and only what it starts itself is in that network too.
fn spawn(mut command: Command) -> io::Result<Child> {
    if network::is_private() {
        command.spawn()
    } else {
        spawn_on_lasting_thread(command)
    }
}

fn spawn_on_lasting_thread(mut command: Command) -> io::Result<Child> {
    type Job = Box<dyn FnOnce() + Send>;
    static JOBS: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let jobs = JOBS.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        // When no thread can be had the channel is closed, and the send below says so.
        let _ = thread::Builder::new()
            .name("spawner".into())
            .spawn(move || jobs.iter().for_each(|job| job()));
        sender
    });
    let (reply, result) = mpsc::channel();
    let job = Box::new(move || {
        let _ = reply.send(command.spawn());
    });
    let no_thread = || io::Error::other("no thread to start it from");
    jobs.send(job).map_err(|_| no_thread())?;
    result.recv().map_err(|_| no_thread())?
}

/// `exited with 69`, `was ended by signal 9`.
pub(super) fn how_ended(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with {code}"),
        (None, Some(signal)) => {
            let name = Signal::try_from(signal).map_or_else(|_| signal.to_string(), |signal| signal.to_string());
            format!("was ended by {name}")
        }
        (None, None) => "ended".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::reap::is_unfinished;
    use super::*;
    use crate::subject::build;

    /// READY of a shell script that stands in for a server; `$$` becomes its process id.
    fn ready_line(target: &str) -> String {
        format!(
            r#"{{\"event\":\"ready\",\"target\":\"{target}\",\"pid\":$$,\"address\":\"127.0.0.1:1\",\"model\":\"fork\",\"runtime\":\"sh\",\"runtime_version\":\"1\",\"io_interface\":\"blocking\",\"accept_model\":\"none\",\"workers\":1,\"buffer_bytes\":1,\"backlog\":1,\"congestion_control\":\"cubic\",\"nodelay\":true,\"max_connections\":null,\"idle_timeout_ms\":null,\"drain_timeout_ms\":0,\"work_ns\":0,\"work_source\":null,\"cpus\":null,\"nofile\":1}}"#
        )
    }

    fn start_with(script: &str, nofile: Option<u64>, cgroup: Result<Cgroup, String>) -> Result<Running, String> {
        let directory = build::server_directory(false).unwrap();
        let launch = Launch {
            launcher: &build::loadgen_executable(&directory).unwrap(),
            binary: Path::new("/bin/sh"),
            arguments: &["-c".into(), script.into()],
            environment: &[],
            folder: None,
            cpus: &[],
            nofile,
            target: "stand-in",
            workers: None,
            counts_syscalls: false,
        };
        Running::start(&launch, cgroup).map(|(running, _)| running)
    }

    fn start(script: &str) -> Result<Running, String> {
        start_with(script, None, Cgroup::create())
    }

    /// A script that says READY, then does `rest`.
    fn server(rest: &str) -> Running {
        start(&format!("echo \"{}\"; {rest}", ready_line("stand-in"))).unwrap()
    }

    const IDLE: &str = "while :; do sleep 0.02; done";

    fn is_gone(pid: u32) -> bool {
        !is_unfinished(pid)
    }

    #[test]
    fn stats_exit_and_usage_come_from_the_server_and_its_children() {
        let stats = Stats {
            accepted: 7,
            ..Stats::default()
        };
        let line = stats.to_line().replace('"', "\\\"");
        let work = "n=0; while [ $n -lt 60000 ]; do n=$((n+1)); done";
        let mut server = server(&format!("trap 'echo \"{line}\"; exit 0' TERM; sh -c '{work}'; {IDLE}"));
        // The child has been reaped once another has come.
        let deadline = Instant::now() + Duration::from_secs(10);
        while process::tree(server.pid()).iter().all(|entry| entry.reaped_cpu_ns == 0) && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        server.signal(Signal::SIGTERM).unwrap();
        let ended = server.wait(Duration::from_secs(5)).unwrap().unwrap();
        assert!(ended.status.success());
        assert_eq!(ended.stats, Some(stats));
        assert!(
            ended.usage.user + ended.usage.system >= Duration::from_millis(10),
            "{ended:?}"
        );
        assert!(ended.usage.context_switches_voluntary > 0);
        assert!(!server.is_alive());
        assert!(server.signal(Signal::SIGTERM).is_err(), "its id may be another's now");
        assert_eq!(server.kill_rest(), 0);
    }

    #[test]
    fn an_early_exit_shows_code_and_stderr() {
        let error = start("echo io_uring is not permitted here >&2; exit 69").unwrap_err();
        assert!(error.contains("ended before READY") && error.contains("69"), "{error}");
        assert!(error.ends_with("io_uring is not permitted here"), "{error}");
    }

    #[test]
    fn a_binary_that_cannot_be_run_is_named() {
        let directory = build::server_directory(false).unwrap();
        let launch = Launch {
            launcher: &build::loadgen_executable(&directory).unwrap(),
            binary: Path::new("/nowhere/server"),
            arguments: &[],
            environment: &[],
            folder: None,
            cpus: &[],
            nofile: None,
            target: "stand-in",
            workers: None,
            counts_syscalls: false,
        };
        let error = Running::start(&launch, Cgroup::create());
        assert!(error.unwrap_err().contains("/nowhere/server cannot be run"));
    }

    #[test]
    fn a_first_line_that_is_not_ready_is_shown() {
        let error = start("echo listening; sleep 60").unwrap_err();
        assert!(error.contains("not READY") && error.contains("listening"), "{error}");
    }

    #[test]
    fn ready_of_another_target_or_process_is_refused() {
        let error = start(&format!("echo \"{}\"; sleep 60", ready_line("other"))).unwrap_err();
        assert_eq!(error, "it says it is `other`, not `stand-in`");
        let stranger = ready_line("stand-in").replace("$$", "1");
        let error = start(&format!("echo \"{stranger}\"; sleep 60")).unwrap_err();
        assert!(error.starts_with("READY names process 1, but process "), "{error}");
    }

    #[test]
    fn ready_may_come_from_a_child() {
        // As with a wrapper script: `$$` of the inner shell.
        let inner = format!("echo \"{}\"; sleep 60", ready_line("stand-in")).replace('\'', "");
        let server = start(&format!("sh -c '{inner}' & wait")).unwrap();
        assert_ne!(server.ready().unwrap().pid, server.pid());
    }

    #[test]
    fn what_ignores_sigterm_is_killed_with_all_its_children() {
        let ready = ready_line("stand-in");
        let mut server = start(&format!("trap '' TERM; sleep 60 & sleep 60 & echo \"{ready}\"; {IDLE}")).unwrap();
        server.signal(Signal::SIGTERM).unwrap();
        assert!(server.wait(Duration::from_millis(50)).unwrap().is_none());
        let processes = server.processes();
        assert!(processes.len() >= 3, "{processes:?}");
        assert!(server.kill_rest() >= 3);
        assert!(processes.into_iter().all(is_gone));
        assert_eq!(server.wait(Duration::ZERO).unwrap().unwrap().status.signal(), Some(9));
    }

    #[test]
    fn dropping_a_server_leaves_no_process_and_no_cgroup() {
        let server = server("sleep 60 & sleep 60 & wait");
        let processes = server.processes();
        let directories: Vec<_> = server
            .cgroup()
            .into_iter()
            .flat_map(|group| group.directories())
            .collect();
        let directories: Vec<_> = directories.into_iter().map(Path::to_owned).collect();
        drop(server);
        assert!(processes.into_iter().all(is_gone));
        assert!(
            directories.iter().all(|directory| !directory.exists()),
            "{directories:?}"
        );
    }

    #[test]
    fn death_is_seen_at_once_and_the_exit_can_still_be_read() {
        let mut server = server(IDLE);
        assert!(server.is_alive());
        server.signal(Signal::SIGKILL).unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        while server.is_alive() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        assert!(!server.is_alive());
        let ended = server.wait(Duration::ZERO).unwrap().unwrap();
        assert_eq!(how_ended(ended.status), "was ended by SIGKILL");
    }

    #[test]
    fn a_descriptor_limit_holds_for_the_server() {
        let script = format!("echo \"{}\"; ulimit -n >&2; {IDLE}", ready_line("stand-in"));
        let server = start_with(&script, Some(123), Cgroup::create()).unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        while server.stderr().is_empty() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        assert_eq!(server.stderr(), "123\n");
    }

    #[test]
    fn without_a_cgroup_children_that_outlive_the_server_are_killed_too() {
        let script = format!(
            "sleep 60 & sleep 60 & echo \"{}\"; trap 'exit 0' TERM; {IDLE}",
            ready_line("stand-in")
        );
        let mut server = start_with(&script, None, Err("none here".into())).unwrap();
        assert_eq!(server.cgroup().err(), Some("none here"));
        let processes = server.processes();
        thread::sleep(Duration::from_millis(50)); // the trap is set
        server.signal(Signal::SIGTERM).unwrap();
        assert!(server.wait(Duration::from_secs(5)).unwrap().unwrap().status.success());
        assert!(server.kill_rest() >= 2);
        assert!(processes.len() >= 3 && processes.into_iter().all(is_gone));
    }
}
