//! Whether io_uring can be had here, asked before a runtime asks: rule 8 of the contract for every ring backend.
//!
//! A runtime that is denied its ring may fail with a bare errno, panic, or fall back to epoll unseen. So a ring of the
//! same kind is made, tried and given back first, and every way to be denied has a sentence of its own.

mod denial;

use crate::Server;
use crate::unavailable::Unavailable;
use denial::{Denial, Step, System};
use echo_contract::ready::RingFacts;
use io_uring::{IoUring, Probe};
use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;
use std::thread;
use std::time::{Duration, Instant};

pub use io_uring::{Builder, opcode};

/// What a backend needs of io_uring.
#[derive(Clone, Copy, Debug)]
pub struct RingNeeds {
    /// For READY: what drives the ring, and with which flags.
    pub driver: &'static str,
    /// Submission entries of one ring; a power of two.
    pub entries: u32,
    /// Completion entries of one ring; a power of two. The kernel's own choice is twice `entries`.
    pub completions: u32,
    /// Rings that one worker holds at the same time.
    pub rings_per_worker: u32,
    /// What one worker registers with its rings beside them (buffer rings, fixed buffers), in bytes.
    pub registered_bytes: u64,
    /// Sets the flags that the backend's rings are made with.
    pub setup: fn(&mut Builder),
    /// Name and code of each operation in use, e.g. `("recv", opcode::Recv::CODE)`.
    pub operations: &'static [(&'static str, u8)],
    /// The first Linux that has all of this: `6.1`.
    pub kernel: &'static str,
}

/// The proof that a ring can be had; what the backend builds its own with.
#[derive(Clone, Copy, Debug)]
pub struct Ring {
    needs: RingNeeds,
    workers: u32,
}

/// The kernel returns locked memory late, so a server started right after another may have to wait for it.
const MEMORY_LIMIT: Duration = Duration::from_secs(2);
const MEMORY_PAUSE: Duration = Duration::from_millis(10);

impl Server {
    /// Makes a ring as the backend will, sees that each operation is known and that an operation goes round, and gives
    /// it back. READY tells of the ring from now on.
    ///
    /// # Errors
    /// [`Unavailable`], which names what denies it: seccomp, sysctl, memlock, or the kernel's age.
    pub fn require_ring(&self, needs: RingNeeds) -> io::Result<Ring> {
        let workers = u32::try_from(self.workers()).unwrap_or(u32::MAX);
        let ring = Ring { needs, workers };
        let facts = ring.with_patience(|| try_out(&needs))?;
        self.set_ring_facts(facts);
        Ok(ring)
    }
}

impl Server {
    /// Sees that RLIMIT_MEMLOCK is at least `bytes`, raised if that is permitted, for a runtime that looks at it itself.
    ///
    /// # Errors
    /// [`Unavailable`], with needed and found bytes and the way out.
    pub fn require_memlock(&self, bytes: u64, who_asks: &str) -> io::Result<()> {
        let (soft, hard) = getrlimit(Resource::RLIMIT_MEMLOCK)?;
        if soft >= bytes || setrlimit(Resource::RLIMIT_MEMLOCK, bytes.max(soft), bytes.max(hard)).is_ok() {
            return Ok(());
        }
        Err(Unavailable::new(format!(
            "io_uring is not permitted here: the memlock limit is {soft} bytes, and {who_asks} looks at it itself: this \
             server needs {bytes}. `ulimit -l {}` or `--ulimit memlock={bytes}` of docker permits it. This server does not fall back to epoll.",
            bytes.div_ceil(1024)
        ))
        .into())
    }
}

impl Ring {
    /// Builds a worker's own ring or runtime; waits a bounded time for locked memory that others are giving back.
    ///
    /// # Errors
    /// [`Unavailable`] where the ring is denied; all other errors as they are.
    pub fn build<T>(&self, mut build: impl FnMut() -> io::Result<T>) -> io::Result<T> {
        self.with_patience(|| build().map_err(|error| Denial::at(Step::Setup, error)))
    }

    fn with_patience<T>(&self, mut build: impl FnMut() -> Result<T, Denial>) -> io::Result<T> {
        let until = Instant::now() + MEMORY_LIMIT;
        loop {
            let denial = match build() {
                Ok(built) => return Ok(built),
                Err(denial) => denial,
            };
            let system = System::look();
            let may_pass = denial.errno() == Some(Errno::ENOMEM) && system.could_ever_hold_one(&self.needs);
            if may_pass && Instant::now() < until {
                thread::sleep(MEMORY_PAUSE);
                continue;
            }
            return Err(match denial.explain(&self.needs, self.workers, &system) {
                Some(why) => Unavailable::new(why).into(),
                None => denial.into_error(),
            });
        }
    }
}

fn try_out(needs: &RingNeeds) -> Result<RingFacts, Denial> {
    let mut builder = IoUring::builder();
    builder.setup_cqsize(needs.completions);
    (needs.setup)(&mut builder);
    let mut ring = builder
        .build(needs.entries)
        .map_err(|error| Denial::at(Step::Setup, error))?;
    let mut known = Probe::new();
    ring.submitter()
        .register_probe(&mut known)
        .map_err(|error| Denial::at(Step::Register, error))?;
    let unknown = needs.operations.iter().find(|(_, code)| !known.is_supported(*code));
    if let Some((name, _)) = unknown {
        return Err(Denial::Operation(name));
    }
    go_round(&mut ring).map_err(|error| Denial::at(Step::Enter, error))?;
    Ok(RingFacts {
        driver: needs.driver.into(),
        entries: ring.params().sq_entries(),
        completions: ring.params().cq_entries(),
    })
}

/// A filter may permit the making of a ring and deny its use.
fn go_round(ring: &mut IoUring) -> io::Result<()> {
    // SAFETY: a no-op refers to no memory.
    unsafe { ring.submission().push(&opcode::Nop::new().build()) }.map_err(io::Error::other)?;
    loop {
        match ring.submit_and_wait(1) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(drop),
        }
    }
}
