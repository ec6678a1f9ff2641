//! The rules of the echo contract as black-box checks over plain sockets, reported rule by rule.
//!
//! The checks know nothing of how a server is built. What needs a process (signals, limits, flags) goes through
//! a [`Launcher`]; against a bare address those checks are reported as not checked, with the reason.
//!
//! A check never panics at what a server does and never waits without a deadline. It opens sockets and reads a few
//! lines of `/proc`; it starts no process, prints nothing and stores nothing. What becomes of a [`Finding`] is the
//! caller's.
//!
//! What std's sockets cannot do (a reset before the server has accepted, small socket buffers, raw packets) goes through
//! [`Means`], which the caller may lend; a client from another loopback address (needs a bind before connect) is not checked.

mod admission;
mod bytes;
mod client;
mod exposure;
mod fault;
pub mod faults;
mod half_close;
mod isolation;
mod limits;
mod no_fallback;
mod payload;
mod server;
mod stop;
mod terms;

use crate::catalog::{Capacity, ExpectedFailure, Frequency, Target};
use crate::ready::Ready;
use crate::stats::Stats;
use fault::{Fault, Verdict};
use server::Server;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Makes every check and tells each result as it comes; all of them again at the end, in the same order.
pub fn verify(subject: &Subject<'_>, on_finding: &mut dyn FnMut(&Finding)) -> Vec<Finding> {
    verify_selected(subject, &|_, _| true, on_finding)
}

/// Makes only the checks that `selected` says yes to, by rule number and name.
pub fn verify_selected(
    subject: &Subject<'_>,
    selected: &dyn Fn(u8, &str) -> bool,
    on_finding: &mut dyn FnMut(&Finding),
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (rule, check) in every_check().filter(|(rule, check)| selected(rule.number, check.name)) {
        let start = Instant::now();
        let (outcome, figure) = outcome(check, subject);
        let finding = Finding {
            rule: rule.number,
            check: check.name,
            outcome,
            figure,
            took: start.elapsed(),
        };
        on_finding(&finding);
        findings.push(finding);
    }
    findings
}

/// Whether nothing failed that is not expected to. What was not checked does not count against a server.
#[must_use]
pub fn passed(findings: &[Finding]) -> bool {
    !findings
        .iter()
        .any(|finding| matches!(finding.outcome, Outcome::Failed(_)))
}

/// Rule number and name of each check, in the order in which they are made.
pub fn checks() -> impl Iterator<Item = (u8, &'static str)> {
    every_check().map(|(rule, check)| (rule.number, check.name))
}

/// The rules of the echo contract, in order.
pub const RULES: &[Rule] = &[
    Rule {
        number: 1,
        title: "Bytes",
        checks: bytes::CHECKS,
    },
    Rule {
        number: 2,
        title: "Half-close",
        checks: half_close::CHECKS,
    },
    Rule {
        number: 3,
        title: "Isolation",
        checks: isolation::CHECKS,
    },
    Rule {
        number: 4,
        title: "Admission",
        checks: admission::CHECKS,
    },
    Rule {
        number: 5,
        title: "Stop",
        checks: stop::CHECKS,
    },
    Rule {
        number: 6,
        title: "Exposure",
        checks: exposure::CHECKS,
    },
    Rule {
        number: 7,
        title: "Equal terms",
        checks: terms::CHECKS,
    },
    Rule {
        number: 8,
        title: "No silent fall-back",
        checks: no_fallback::CHECKS,
    },
];

/// One rule of the echo contract and what is checked of it.
pub struct Rule {
    pub number: u8,
    pub title: &'static str,
    checks: &'static [Check],
}

/// What a check showed.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Number of the rule.
    pub rule: u8,
    /// What a good server does, as a sentence.
    pub check: &'static str,
    pub outcome: Outcome,
    /// What was measured on the way, if that is worth telling: `0.3 % of a CPU`.
    pub figure: Option<String>,
    /// How long the check took, starting the server included.
    pub took: Duration,
}

/// The result of one check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Passed,
    /// What was seen and what was expected.
    Failed(String),
    /// Failed, and the target's row says why it must; what was seen.
    FailedAsExpected(String, ExpectedFailure),
    /// Passed each time of several, though the target's row says that it always fails: the row is out of date.
    PassedUnexpectedly(ExpectedFailure),
    /// Why the check does not apply or could not be made.
    NotChecked(String),
}

/// What is checked, and how hard.
#[derive(Clone)]
pub struct Subject<'a> {
    pub source: Source<'a>,
    pub profile: Profile,
    pub expected_failures: &'static [ExpectedFailure],
    /// What std's sockets cannot do; without it the checks that need it are not made.
    pub means: Option<Arc<dyn Means>>,
}

impl<'a> Subject<'a> {
    /// Fresh servers from `launcher`, one for each check.
    #[must_use]
    pub fn started(launcher: &'a dyn Launcher, profile: Profile) -> Self {
        Self {
            source: Source::Started(launcher),
            profile,
            expected_failures: &[],
            means: None,
        }
    }

    /// A server that somebody else started.
    #[must_use]
    pub fn attached(address: SocketAddr, profile: Profile) -> Self {
        Self {
            source: Source::Attached(address),
            profile,
            expected_failures: &[],
            means: None,
        }
    }

    /// With the failures that the target's row expects.
    #[must_use]
    pub fn expecting(mut self, expected_failures: &'static [ExpectedFailure]) -> Self {
        self.expected_failures = expected_failures;
        self
    }

    /// With what std's sockets cannot do.
    #[must_use]
    pub fn by(mut self, means: Arc<dyn Means>) -> Self {
        self.means = Some(means);
        self
    }
}

/// What a check needs of sockets that std does not offer.
pub trait Means: Send + Sync {
    /// The next close of this socket is a reset (SO_LINGER with no time).
    ///
    /// # Errors
    /// As of setsockopt(2).
    fn reset_on_close(&self, client: &TcpStream) -> io::Result<()>;

    /// Sets the size of the send buffer (SO_SNDBUF).
    ///
    /// # Errors
    /// As of setsockopt(2).
    fn limit_send_buffer(&self, client: &TcpStream, bytes: usize) -> io::Result<()>;

    /// Sets the size of the receive buffer (SO_RCVBUF), which bounds the window.
    ///
    /// # Errors
    /// As of setsockopt(2).
    fn limit_receive_buffer(&self, client: &TcpStream, bytes: usize) -> io::Result<()>;

    /// Sends SYNs to this address from addresses that never answer, so many a second for so long; how many were sent.
    ///
    /// # Errors
    /// Where that is not possible, or the calling thread's network is not its own: then not one is sent.
    fn flood(&self, to: SocketAddr, per_second: u64, time: Duration) -> io::Result<u64>;
}

/// Where the servers under test come from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Fresh servers, one for each check.
    Started(&'a dyn Launcher),
    /// Something that listens already; only what sockets can show is checked.
    Attached(SocketAddr),
}

/// How much a check may ask of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Most clients served at the same time; a pool serves one for each worker.
    pub clients_at_once: usize,
    /// Most clients in trouble at the same time while another must be served as if nothing were (rule 3).
    pub troubled_clients: usize,
    /// How long a server may take for what it must do at once on an idle machine.
    pub patience: Duration,
    /// Clients that it can hold at all: workers of a pool.
    most_clients: usize,
    /// The numbers of the fault matrix.
    pub scale: Scale,
    /// How long [`faults`] soaks a server.
    pub soak: Duration,
    /// Which of several repetitions of a check this is, from 0: what dice decide differs.
    repetition: u64,
}

/// Which numbers a row of the fault matrix is made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scale {
    /// Seconds for each row.
    #[default]
    Short,
    /// The numbers of the list of anchors, as far as one process can hold so many clients: minutes to hours.
    Long,
}

impl Scale {
    fn pick(self, short: usize, long: usize) -> usize {
        match self {
            Self::Short => short,
            Self::Long => long,
        }
    }
}

impl Profile {
    /// For servers that take as many clients as the system allows.
    #[must_use]
    pub fn unbounded() -> Self {
        Self {
            clients_at_once: 100,
            troubled_clients: 100,
            patience: Duration::from_secs(15),
            most_clients: usize::MAX,
            scale: Scale::Short,
            soak: Self::SHORT_SOAK,
            repetition: 0,
        }
    }

    /// [`Profile::soak`] of the short form.
    pub const SHORT_SOAK: Duration = Duration::from_secs(6);
    /// [`Profile::soak`] of the long form.
    pub const LONG_SOAK: Duration = Duration::from_secs(30 * 60);

    /// With the long form's numbers: up to 1,000 clients at once.
    #[must_use]
    pub fn long(self) -> Self {
        const CROWD: usize = 1_000;
        Self {
            clients_at_once: self.most_clients.min(CROWD),
            troubled_clients: self.most_clients.saturating_sub(1).min(CROWD),
            scale: Scale::Long,
            soak: Self::LONG_SOAK,
            ..self
        }
    }

    /// For a pool of `workers` that serve one client each: one worker is left for the client that is watched.
    #[must_use]
    pub fn pool(workers: usize) -> Self {
        let unbounded = Self::unbounded();
        Self {
            clients_at_once: workers.clamp(1, unbounded.clients_at_once),
            troubled_clients: workers.saturating_sub(1).min(unbounded.troubled_clients),
            most_clients: workers.max(1),
            ..unbounded
        }
    }

    /// For a row of the catalog, started with `--workers` as given.
    #[must_use]
    pub fn of(target: &Target, workers: usize) -> Self {
        match target.capacity {
            Capacity::Unbounded => Self::unbounded(),
            Capacity::OnePerWorker => Self::pool(workers),
        }
    }
}

/// Starts fresh servers of the target under test on a free port of 127.0.0.1.
pub trait Launcher {
    /// Starts a server and returns once it printed READY.
    ///
    /// # Errors
    /// When the server cannot be started or does not print READY in time; the text carries its stderr.
    fn launch(&self, launch: &Launch) -> io::Result<Box<dyn Process>>;

    /// Whether it can give a server these surroundings; checks that need others are not made.
    fn offers(&self, surroundings: Surroundings) -> bool {
        surroundings == Surroundings::Ordinary
    }
}

/// How a server is to be started, beside the arguments that make it the target.
#[derive(Clone, Debug, Default)]
pub struct Launch {
    /// Further flags, e.g. `["--max-connections", "10"]`. `--port 0` is the launcher's own.
    pub arguments: Vec<String>,
    /// RLIMIT_NOFILE, soft and hard; none leaves the limit alone.
    pub nofile: Option<u64>,
    pub surroundings: Surroundings,
}

/// What a server inherits of the process that starts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Surroundings {
    /// What a shell leaves to its programs.
    #[default]
    Ordinary,
    /// SIGTERM, SIGINT, SIGALRM and SIGCHLD blocked, SIGCHLD ignored, and an alarm that comes after a second.
    CarelessParent,
    /// A stderr that is a pipe, full, which nobody reads.
    FullStderr,
}

/// What a check may send to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Terminate,
    Interrupt,
    Kill,
    /// SIGPIPE, which a server must not die of.
    Pipe,
    /// SIGSTOP, until [`Signal::Continue`].
    Stop,
    /// SIGCONT: calls that waited end with EINTR.
    Continue,
}

/// A running server. Dropping it kills the process and reaps it.
pub trait Process {
    /// What the server said of itself.
    fn ready(&self) -> &Ready;

    /// Sends a signal to the first process.
    ///
    /// # Errors
    /// When the process is gone.
    fn signal(&self, signal: Signal) -> io::Result<()>;

    /// Waits for the exit; none when `limit` ran out first.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    fn wait(&mut self, limit: Duration) -> io::Result<Option<Exit>>;

    /// CPU time of the whole process tree so far, ended children included.
    ///
    /// # Errors
    /// When the system does not tell.
    fn cpu_time(&self) -> io::Result<Duration>;

    /// The state letter of each descendant (`R`, `S`, `Z` ...), the first process not included.
    ///
    /// # Errors
    /// When the system does not tell.
    fn children(&self) -> io::Result<Vec<(u32, char)>>;

    /// Memory of the whole process tree that no file backs, a shared page by its share (Pss_Anon, Pss_Shmem): what a client
    /// costs is in it, and not how many others have mapped the same library.
    ///
    /// # Errors
    /// When the system does not tell.
    fn memory_bytes(&self) -> io::Result<u64>;

    /// Sends `bytes` as a client, the last of them urgent (MSG_OOB), which std's sockets cannot; how many were sent.
    ///
    /// # Errors
    /// As of a write.
    fn send_urgent(&self, client: &TcpStream, bytes: &[u8]) -> io::Result<usize>;

    /// Open descriptors of the first process.
    ///
    /// # Errors
    /// When the system does not tell.
    fn descriptors(&self) -> io::Result<usize>;

    /// Lets the whole process tree have so many more processes and threads than it has now, or as many as it likes.
    ///
    /// # Errors
    /// Where no such limit can be had: by default always.
    fn limit_processes(&mut self, _more: Option<u64>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// How a server ended.
#[derive(Clone, Debug)]
pub struct Exit {
    /// Exit code; none when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Its STATS line, if it printed one.
    pub stats: Option<Stats>,
    /// All it wrote to stderr.
    pub stderr: String,
}

/// One thing that a good server does.
struct Check {
    /// As a sentence.
    name: &'static str,
    setting: Setting,
    make: fn(&mut Server) -> Verdict,
}

/// What a check needs.
enum Setting {
    /// Any server that listens, started with the defaults.
    Sockets,
    /// A fresh process, started with these flags, this RLIMIT_NOFILE and in these surroundings.
    Process {
        arguments: &'static [&'static str],
        nofile: Option<u64>,
        surroundings: Surroundings,
    },
}

impl Setting {
    /// A fresh process with the defaults.
    const PROCESS: Self = Self::Process {
        arguments: &[],
        nofile: None,
        surroundings: Surroundings::Ordinary,
    };

    /// A fresh process with these flags.
    const fn flags(arguments: &'static [&'static str]) -> Self {
        Self::Process {
            arguments,
            nofile: None,
            surroundings: Surroundings::Ordinary,
        }
    }
}

fn every_check() -> impl Iterator<Item = (&'static Rule, &'static Check)> {
    RULES
        .iter()
        .flat_map(|rule| rule.checks.iter().map(move |check| (rule, check)))
}

/// Makes a check; one that always fails on this target is made again when it passes.
fn outcome(check: &Check, subject: &Subject<'_>) -> (Outcome, Option<String>) {
    /// A row is not out of date by one stroke of luck.
    const TIMES: usize = 3;
    /// A client that waits for what cannot come keeps everybody waiting.
    const LITTLE_PATIENCE: Duration = Duration::from_secs(2);
    let expected = subject.expected_failures.iter().find(|known| known.check == check.name);
    let Some(&expected) = expected else {
        return match make(check, subject, &subject.profile) {
            Ok(figure) => (Outcome::Passed, figure),
            Err(Fault::Failed(text)) => (Outcome::Failed(text), None),
            Err(Fault::NotChecked(text)) => (Outcome::NotChecked(text), None),
        };
    };
    let profile = Profile {
        patience: LITTLE_PATIENCE.min(subject.profile.patience),
        ..subject.profile.clone()
    };
    let times = match expected.frequency {
        Frequency::Always => TIMES,
        Frequency::AtTimes => 1,
    };
    let mut figure = None;
    for _ in 0..times {
        match make(check, subject, &profile) {
            Ok(measured) => figure = measured,
            Err(Fault::Failed(text)) => return (Outcome::FailedAsExpected(text, expected), None),
            Err(Fault::NotChecked(text)) => return (Outcome::NotChecked(text), None),
        }
    }
    match expected.frequency {
        Frequency::Always => (Outcome::PassedUnexpectedly(expected), figure),
        Frequency::AtTimes => (Outcome::Passed, figure),
    }
}

/// Sets the check up and makes it; a fault tells also whether the server had died.
fn make(check: &Check, subject: &Subject<'_>, profile: &Profile) -> Verdict {
    let mut server = match (&subject.source, &check.setting) {
        (Source::Attached(address), Setting::Sockets) => Server::attached(*address, profile),
        (Source::Attached(_), Setting::Process { .. }) => {
            return Err(Fault::NotChecked("needs a server that loadgen started".into()));
        }
        (Source::Started(launcher), setting) => Server::launch(*launcher, setting, profile)?,
    };
    server.lend(subject.means.clone());
    (check.make)(&mut server).map_err(|fault| match fault {
        Fault::Failed(text) => Fault::Failed(text + &server.obituary()),
        other => other,
    })
}
