//! Starts a server binary for black-box tests, with limits, and looks at its processes from outside.
//!
//! A dev-dependency of the server packages and of loadgen, and of nothing that is shipped. Whatever a test does, dropping a
//! [`RunningServer`] ends what it started.

mod clients;
mod contract;
mod failing;
mod splits;
mod starting;
mod stopping;
pub mod strategies;
mod surroundings;

use echo_contract::conformance::{Exit, Launch, Launcher, Process, Signal, Surroundings};
use echo_contract::ready::Ready;
use echo_contract::stats::Stats;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{self, kill};
use nix::sys::socket::{MsgFlags, send};
use nix::unistd::{Pid, SysconfVar, Uid, sysconf};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};
use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufRead, BufReader, PipeReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};
use std::{fs, thread};

pub use clients::ping;
pub use contract::{every_target_of_a_binary_keeps_the_echo_contract, keeps_the_echo_contract};
pub use failing::after_a_failure_the_first_signal_is_the_first;
pub use splits::payloads_come_back_however_they_are_cut;
pub use starting::{of_two_that_start_at_once_on_one_port_one_serves, where_no_thread_can_be_had_it_serves_or_says_so};
pub use stopping::a_stop_at_the_process_limit_resets_nobody;

/// Far more than a server needs, on a machine that does much else.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long the pipes of an ended server may stay open: a child of it could hold them.
const PIPE_LIMIT: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Users that nobody is, so many for each process that runs tests that none comes round again while it is in use.
const FIRST_USER: u32 = 1_000_000;
const USERS_PER_PROCESS: u32 = 512;
static USERS: AtomicU32 = AtomicU32::new(0);

/// A server binary and the arguments that make it a target.
#[derive(Debug)]
pub struct ServerBinary {
    path: PathBuf,
    arguments: Vec<String>,
    max_processes: Option<u64>,
    memlock_bytes: Option<u64>,
    user: Option<u32>,
    /// Runs in the server before its first instruction.
    filter: BpfProgram,
}

impl ServerBinary {
    /// `path` is `env!("CARGO_BIN_EXE_...")`.
    #[must_use]
    pub fn new(path: &str, arguments: &[&str]) -> Self {
        Self {
            path: path.into(),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            max_processes: None,
            memlock_bytes: None,
            user: None,
            filter: Vec::new(),
        }
    }

    /// Lets the server have no more than `count` processes and threads. The limit counts per user and does not
    /// bind root, so a test run by root starts the server as a user that nobody else is; for others, whose own
    /// processes count too, every further process fails.
    #[must_use]
    pub fn with_max_processes(mut self, count: u64) -> Self {
        self.max_processes = Some(count);
        self.for_nobody_else()
    }

    /// Lets the server lock so many bytes of memory, which also bounds its rings. The limit does not bind who has
    /// CAP_IPC_LOCK, so a test run by root starts the server as a user that nobody else is.
    #[must_use]
    pub fn with_memlock(mut self, bytes: u64) -> Self {
        self.memlock_bytes = Some(bytes);
        self.for_nobody_else()
    }

    /// Denies the server io_uring, as container engines do: a seccomp filter that makes io_uring_setup fail with EPERM.
    ///
    /// # Panics
    /// On an architecture that seccomp filters cannot be written for.
    #[must_use]
    pub fn without_io_uring(mut self) -> Self {
        let architecture = TargetArch::try_from(std::env::consts::ARCH).expect("a known architecture");
        let denial = SeccompAction::Errno(libc::EPERM.unsigned_abs());
        let rules = BTreeMap::from([(libc::SYS_io_uring_setup, Vec::new())]);
        let filter = SeccompFilter::new(rules, SeccompAction::Allow, denial, architecture);
        self.filter = filter.and_then(BpfProgram::try_from).expect("one rule makes a filter");
        self
    }

    fn for_nobody_else(mut self) -> Self {
        self.user = Uid::effective().is_root().then(|| {
            FIRST_USER + std::process::id() * USERS_PER_PROCESS + USERS.fetch_add(1, Relaxed) % USERS_PER_PROCESS
        });
        self
    }

    /// Starts the server on a free port and waits for READY.
    ///
    /// # Errors
    /// When it does not start or prints no READY; the text carries its exit code and its stderr.
    pub fn start(&self, launch: &Launch) -> io::Result<RunningServer> {
        self.start_on(0, launch)
    }

    /// As [`ServerBinary::start`], on this port.
    ///
    /// # Errors
    /// As [`ServerBinary::start`].
    pub fn start_on(&self, port: u16, launch: &Launch) -> io::Result<RunningServer> {
        let mut command = self.command()?;
        command
            .args(&self.arguments)
            .args(["--port", &port.to_string()])
            .args(&launch.arguments);
        let (full_stderr, mut child) = match launch.surroundings {
            Surroundings::FullStderr => {
                let (reader, writer) = surroundings::full_pipe()?;
                (Some(reader), self.spawn(command.stderr(writer), launch)?)
            }
            Surroundings::Ordinary | Surroundings::CarelessParent => {
                (None, self.spawn(command.stderr(Stdio::piped()), launch)?)
            }
        };
        let stdout = lines_of(child.stdout.take());
        let stderr = text_of(child.stderr.take());
        let mut server = RunningServer {
            child,
            ready: None,
            stdout,
            stderr,
            last_line: None,
            user: self.user,
            _full_stderr: full_stderr,
        };
        match server.stdout.recv_timeout(START_LIMIT) {
            Ok(line) => {
                let ready = Ready::from_line(&line).map_err(|error| io::Error::other(format!("{error}: {line}")))?;
                server.ready = Some(ready);
                Ok(server)
            }
            Err(reason) => {
                if reason == RecvTimeoutError::Timeout {
                    let _ = server.child.kill();
                }
                let ended = server.child.wait()?;
                let ended = ended
                    .code()
                    .map_or(ended.to_string(), |code| format!("exit code {code}"));
                let stderr = server.stderr.recv_timeout(PIPE_LIMIT).unwrap_or_default();
                Err(io::Error::other(format!(
                    "{} printed no READY, {ended}: {}",
                    self.path.display(),
                    stderr.trim_end()
                )))
            }
        }
    }

    /// Runs the binary with exactly these arguments until it ends; for what it says of wrong ones.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, arguments: &[&str]) -> io::Result<Exit> {
        let mut command = self.command()?;
        command.args(arguments);
        command.stderr(Stdio::piped());
        let output = self.spawn(&mut command, &Launch::default())?.wait_with_output()?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stats = stdout.lines().last().and_then(|line| Stats::from_line(line).ok());
        Ok(exit(
            output.status,
            stats,
            String::from_utf8_lossy(&output.stderr).into_owned(),
        ))
    }

    fn spawn(&self, command: &mut Command, launch: &Launch) -> io::Result<Child> {
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        let limits: Vec<_> = [
            (Resource::RLIMIT_NOFILE, launch.nofile),
            (Resource::RLIMIT_NPROC, self.max_processes),
            (Resource::RLIMIT_MEMLOCK, self.memlock_bytes),
        ]
        .into_iter()
        .filter_map(|(resource, limit)| Some((resource, limit?)))
        .collect();
        let filter = self.filter.clone();
        let is_careless = launch.surroundings == Surroundings::CarelessParent;
        let set_limits = move || {
            let set = |&(resource, limit): &(Resource, u64)| setrlimit(resource, limit, limit);
            limits.iter().try_for_each(set).map_err(io::Error::from)?;
            if is_careless {
                surroundings::leave_signals_carelessly()?;
            }
            if filter.is_empty() {
                return Ok(());
            }
            apply_filter(&filter).map_err(|_| io::Error::last_os_error())
        };
        // SAFETY: between fork and exec the closure makes setrlimit, signal, prctl and seccomp calls only, the filter having
        // been made before: no allocation, no lock.
        unsafe { command.pre_exec(set_limits) };
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        // A child that another test forks meanwhile holds the descriptor that wrote our copy, until its own exec.
        let until = Instant::now() + START_LIMIT;
        loop {
            match command.spawn() {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < until => {
                    thread::sleep(LOOK_AGAIN);
                }
                result => return result,
            }
        }
    }

    /// The binary, or for another user a copy that this one can read.
    fn command(&self) -> io::Result<Command> {
        let Some(user) = self.user else {
            return Ok(Command::new(&self.path));
        };
        let name = self.path.file_name().unwrap_or_default().to_string_lossy();
        let copy = std::env::temp_dir().join(format!("{name}-of-user-{user}"));
        if !copy.exists() {
            fs::copy(&self.path, &copy)?;
        }
        let mut command = Command::new(copy);
        command.current_dir("/");
        Ok(command)
    }
}

impl Drop for ServerBinary {
    fn drop(&mut self) {
        if let Some(user) = self.user {
            let name = self.path.file_name().unwrap_or_default().to_string_lossy();
            let _ = fs::remove_file(std::env::temp_dir().join(format!("{name}-of-user-{user}")));
        }
    }
}

impl Launcher for ServerBinary {
    fn launch(&self, launch: &Launch) -> io::Result<Box<dyn Process>> {
        Ok(Box::new(self.start(launch)?))
    }

    fn offers(&self, _surroundings: Surroundings) -> bool {
        true
    }
}

/// A server that was started; killed, with its children, when dropped.
pub struct RunningServer {
    child: Child,
    ready: Option<Ready>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
    last_line: Option<String>,
    user: Option<u32>,
    /// Never read.
    _full_stderr: Option<PipeReader>,
}

impl RunningServer {
    /// Where it listens.
    ///
    /// # Panics
    /// When READY holds no address.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.ready().address.parse().expect("READY holds an address")
    }

    /// Process id of the first process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Threads of the first process.
    ///
    /// # Errors
    /// When /proc does not tell.
    pub fn threads(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/task", self.pid()))?.count())
    }

    /// From now on the server gets no further process or thread while its user has so many; what it has stays.
    ///
    /// # Errors
    /// When the server is gone, or had a lower limit at its start.
    pub fn limit_processes(&self, most: u64) -> io::Result<()> {
        let server = pid_of(self.pid()).as_raw();
        let set_limit = move || {
            let mut limit = libc::rlimit {
                rlim_cur: 0,
                rlim_max: 0,
            };
            // SAFETY: the limit lives, and the kernel writes it.
            let mut result = unsafe { libc::prlimit(server, libc::RLIMIT_NPROC, std::ptr::null(), &raw mut limit) };
            limit.rlim_cur = most;
            if result == 0 {
                // SAFETY: the limit lives, and the kernel reads it.
                result = unsafe { libc::prlimit(server, libc::RLIMIT_NPROC, &raw const limit, std::ptr::null_mut()) };
            }
            if result == 0 {
                Ok(())
            } else {
                Err(io::Error::last_os_error())
            }
        };
        // A process may do this to others of its user, root without CAP_SYS_RESOURCE may not.
        let mut command = Command::new("true");
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        // SAFETY: between fork and exec the closure makes two system calls.
        unsafe { command.pre_exec(set_limit) };
        command.status().map(drop)
    }

    /// Stops it with SIGTERM and waits for the exit.
    ///
    /// # Panics
    /// When it does not end within `limit`.
    pub fn stop(&mut self, limit: Duration) -> Exit {
        self.signal(Signal::Terminate).expect("the server runs");
        let exit = self.wait(limit).expect("the server can be waited for");
        exit.unwrap_or_else(|| panic!("the server did not end within {limit:?} of SIGTERM"))
    }

    /// Looks again and again until `condition` holds.
    ///
    /// # Panics
    /// When it does not hold within 30 s; `what` says what was waited for.
    pub fn await_condition(&self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let until = Instant::now() + START_LIMIT;
        while !condition(self) {
            assert!(Instant::now() < until, "not within {START_LIMIT:?}: {what}");
            thread::sleep(LOOK_AGAIN);
        }
    }
}

impl Process for RunningServer {
    fn ready(&self) -> &Ready {
        self.ready.as_ref().expect("start returns after READY only")
    }

    fn signal(&self, signal: Signal) -> io::Result<()> {
        let signal = match signal {
            Signal::Terminate => signal::Signal::SIGTERM,
            Signal::Interrupt => signal::Signal::SIGINT,
            Signal::Kill => signal::Signal::SIGKILL,
            Signal::Pipe => signal::Signal::SIGPIPE,
            Signal::Stop => signal::Signal::SIGSTOP,
            Signal::Continue => signal::Signal::SIGCONT,
        };
        Ok(kill(pid_of(self.pid()), signal)?)
    }

    fn wait(&mut self, limit: Duration) -> io::Result<Option<Exit>> {
        let until = Instant::now() + limit;
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break status,
                None if Instant::now() >= until => return Ok(None),
                None => thread::sleep(LOOK_AGAIN),
            }
        };
        loop {
            match self.stdout.recv_timeout(PIPE_LIMIT) {
                Ok(line) => self.last_line = Some(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => return Err(io::Error::other("an ended server's stdout stays open")),
            }
        }
        let stats = self.last_line.as_deref().and_then(|line| Stats::from_line(line).ok());
        let stderr = self.stderr.recv_timeout(PIPE_LIMIT).unwrap_or_default();
        Ok(Some(exit(status, stats, stderr)))
    }

    fn cpu_time(&self) -> io::Result<Duration> {
        let ticks_per_second = sysconf(SysconfVar::CLK_TCK)?.and_then(|ticks| u32::try_from(ticks).ok());
        let family = family_of(self.pid())?;
        let ticks = family.iter().map(|stat| stat.cpu_ticks).sum();
        Ok(Duration::from_secs(ticks) / ticks_per_second.unwrap_or(100))
    }

    fn children(&self) -> io::Result<Vec<(u32, char)>> {
        let family = family_of(self.pid())?;
        let children = family.into_iter().filter(|stat| stat.pid != self.pid());
        Ok(children.map(|stat| (stat.pid, stat.state)).collect())
    }

    fn memory_bytes(&self) -> io::Result<u64> {
        let family = family_of(self.pid())?;
        family.iter().map(|stat| anonymous_bytes(stat.pid)).sum()
    }

    fn send_urgent(&self, client: &TcpStream, bytes: &[u8]) -> io::Result<usize> {
        Ok(send(client.as_raw_fd(), bytes, MsgFlags::MSG_OOB)?)
    }

    fn descriptors(&self) -> io::Result<usize> {
        Ok(fs::read_dir(format!("/proc/{}/fd", self.pid()))?.count())
    }
}

impl Drop for RunningServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn exit(status: ExitStatus, stats: Option<Stats>, stderr: String) -> Exit {
    Exit {
        code: status.code(),
        signal: status.signal(),
        stats,
        stderr,
    }
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).expect("Linux has process ids below 2^22"))
}

/// Lines as they come; disconnected at the end of the pipe.
fn lines_of(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    let lines = pipe.map(|pipe| BufReader::new(pipe).lines());
    thread::spawn(move || {
        for line in lines.into_iter().flatten().map_while(Result::ok) {
            let _ = sender.send(line);
        }
    });
    receiver
}

/// All of it, once, at the end of the pipe.
fn text_of(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

/// Says that this machine does not let a test show `what`; with `CI=true` in the environment that is a failure.
///
/// # Panics
/// With `CI=true`.
pub fn not_tested(what: &str) {
    tell_not_tested(what, std::env::var_os("CI").is_some_and(|value| value == "true"));
}

fn tell_not_tested(what: &str, is_ci: bool) {
    assert!(!is_ci, "NOT TESTED, and CI=true: {what}");
    eprintln!("NOT TESTED: {what}");
}

struct Stat {
    pid: u32,
    parent: u32,
    state: char,
    /// User and system time, its own and that of the children it waited for.
    cpu_ticks: u64,
}

/// A process and all its descendants.
fn family_of(root: u32) -> io::Result<Vec<Stat>> {
    let mut all: HashMap<u32, Stat> = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid: u32| parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?))
        .map(|stat| (stat.pid, stat))
        .collect();
    let mut family: Vec<Stat> = all.remove(&root).into_iter().collect();
    let mut looked_at = 0;
    while let Some(parent) = family.get(looked_at).map(|stat| stat.pid) {
        let children: Vec<u32> = all
            .values()
            .filter(|stat| stat.parent == parent)
            .map(|stat| stat.pid)
            .collect();
        family.extend(children.iter().filter_map(|child| all.remove(child)));
        looked_at += 1;
    }
    Ok(family)
}

/// What no file backs, a shared page by its share. A zombie has none.
fn anonymous_bytes(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let kib = |line: &str| line.strip_suffix(" kB")?.trim().parse::<u64>().ok();
    let named = |line: &str| {
        line.strip_prefix("Pss_Anon:")
            .or(line.strip_prefix("Pss_Shmem:"))
            .and_then(kib)
    };
    Ok(text.lines().filter_map(named).sum::<u64>() * 1024)
}

/// `pid (name) state ppid ... utime stime cutime cstime ...`; the name may hold anything, so it is cut at its end.
fn parse_stat(text: &str) -> Option<Stat> {
    let (head, tail) = text.rsplit_once(')')?;
    let fields: Vec<&str> = tail.split_whitespace().collect();
    let ticks = fields.get(11..15)?.iter().filter_map(|field| field.parse::<u64>().ok());
    Some(Stat {
        pid: head.split_once(' ')?.0.parse().ok()?,
        parent: fields.get(1)?.parse().ok()?,
        state: fields.first()?.chars().next()?,
        cpu_ticks: ticks.sum(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_is_read_whatever_the_process_is_called() {
        let stat = parse_stat("42 (a b) c) S 7 42 42 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 99").unwrap();
        assert_eq!((stat.pid, stat.parent, stat.state, stat.cpu_ticks), (42, 7, 'S', 100));
    }

    #[test]
    #[should_panic(expected = "NOT TESTED, and CI=true: this")]
    fn what_cannot_be_tested_fails_on_ci() {
        tell_not_tested("this", true);
    }

    #[test]
    fn what_cannot_be_tested_elsewhere_is_told() {
        tell_not_tested("this", false);
    }
}
