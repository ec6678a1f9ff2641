//! What stands between a server and its ring, in words: pure text from an errno and what the system says of itself.

use super::RingNeeds;
use nix::errno::Errno;
use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use nix::sys::utsname::uname;
use std::{fs, io};

/// At what a ring failed.
#[derive(Debug)]
pub(super) enum Denial {
    Call(Step, io::Error),
    /// The kernel does not know this operation.
    Operation(&'static str),
}

/// One of the three system calls.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Setup,
    Register,
    Enter,
}

impl Step {
    fn call(self) -> &'static str {
        match self {
            Self::Setup => "io_uring_setup",
            Self::Register => "io_uring_register",
            Self::Enter => "io_uring_enter",
        }
    }
}

/// What the system says of itself. Looked at only after a failure.
#[derive(Debug)]
pub(super) struct System {
    /// `6.18.44`.
    release: String,
    /// Whether a seccomp filter watches this process.
    is_filtered: bool,
    /// CAP_IPC_LOCK: locked memory is not accounted for.
    may_lock: bool,
    /// `kernel.io_uring_disabled`; none before Linux 6.6.
    disabled: Option<String>,
    /// RLIMIT_MEMLOCK, soft; none means unlimited.
    memlock_bytes: Option<u64>,
}

impl System {
    pub(super) fn look() -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.map_or("", str::trim)
        };
        const CAP_IPC_LOCK: u64 = 1 << 14;
        let release = uname().map(|name| name.release().to_string_lossy().into_owned());
        let memlock = getrlimit(Resource::RLIMIT_MEMLOCK).map(|(soft, _)| soft);
        Self {
            release: release.unwrap_or_else(|_| "of unknown version".into()),
            is_filtered: field("Seccomp:") == "2",
            may_lock: u64::from_str_radix(field("CapEff:"), 16).is_ok_and(|set| set & CAP_IPC_LOCK != 0),
            disabled: fs::read_to_string("/proc/sys/kernel/io_uring_disabled")
                .ok()
                .map(|text| text.trim().to_string()),
            memlock_bytes: memlock.ok().filter(|&bytes| bytes != RLIM_INFINITY),
        }
    }

    /// Whether the limit would do for one worker if nobody else held locked memory.
    pub(super) fn could_ever_hold_one(&self, needs: &RingNeeds) -> bool {
        let limit = self.memlock_bytes.filter(|_| !self.may_lock);
        limit.is_none_or(|bytes| needs.locked_bytes(1) <= bytes)
    }
}

impl Denial {
    pub(super) fn at(step: Step, error: io::Error) -> Self {
        Self::Call(step, error)
    }

    pub(super) fn errno(&self) -> Option<Errno> {
        match self {
            Self::Call(_, error) => error.raw_os_error().map(Errno::from_raw),
            Self::Operation(_) => None,
        }
    }

    pub(super) fn into_error(self) -> io::Error {
        match self {
            Self::Call(_, error) => error,
            Self::Operation(name) => io::Error::other(format!("the kernel does not know `{name}`")),
        }
    }

    /// One paragraph: what denies the ring, and the way out. None for an error that says nothing of io_uring, such as a
    /// lack of descriptors.
    pub(super) fn explain(&self, needs: &RingNeeds, workers: u32, system: &System) -> Option<String> {
        let (step, errno) = match self {
            Self::Call(step, _) => (*step, self.errno()?),
            Self::Operation(name) => {
                let what = format!("the operation `{name}` is unknown to it");
                return Some(not_permitted(&too_old(&what, needs, system)));
            }
        };
        let what = format!("{} gave {errno:?}", step.call());
        let reason = match errno {
            Errno::EPERM | Errno::EACCES => denied(&what, system),
            Errno::ENOSYS if system.is_filtered => denied(&what, system),
            Errno::ENOSYS | Errno::EINVAL | Errno::EOPNOTSUPP => too_old(&what, needs, system),
            Errno::ENOMEM => memory_short(&what, needs, workers, system),
            _ => return None,
        };
        Some(not_permitted(&reason))
    }
}

fn not_permitted(reason: &str) -> String {
    format!("io_uring is not permitted here: {reason} This server does not fall back to epoll.")
}

fn denied(what: &str, system: &System) -> String {
    match system.disabled.as_deref() {
        Some(value) if value != "0" => format!(
            "kernel.io_uring_disabled is {value} ({what}). `sysctl kernel.io_uring_disabled=0` permits it to all, the \
             value 1 only to the group in kernel.io_uring_group."
        ),
        _ if system.is_filtered => format!(
            "a seccomp filter denies it ({what}). Container engines do so by default (Docker since 25.0): start it with a \
             seccomp profile that allows io_uring_setup, io_uring_enter and io_uring_register."
        ),
        _ => format!("{what}, and neither seccomp nor kernel.io_uring_disabled says so: look for a security module."),
    }
}

fn too_old(what: &str, needs: &RingNeeds, system: &System) -> String {
    format!(
        "the kernel is too old ({what}): this server needs Linux {} or later, with io_uring built in; this is Linux {}.",
        needs.kernel, system.release
    )
}

fn memory_short(what: &str, needs: &RingNeeds, workers: u32, system: &System) -> String {
    let needed = needs.locked_bytes(workers);
    match system.memlock_bytes {
        Some(found) if !system.may_lock => format!(
            "memlock is too small ({what}): this server needs {needed} bytes of locked memory for {workers} worker(s), and \
             the limit (RLIMIT_MEMLOCK, `ulimit -l`) is {found} bytes for all processes of this user together. Raise it, \
             stop other servers that hold rings, or give CAP_IPC_LOCK."
        ),
        _ => format!("no kernel memory ({what}): {needed} bytes are needed for {workers} worker(s)."),
    }
}

const PAGE_BYTES: u64 = 4096;

impl RingNeeds {
    /// What the kernel charges to RLIMIT_MEMLOCK for all rings: a header, 16 bytes per completion, 4 + 64 per submission.
    fn locked_bytes(&self, workers: u32) -> u64 {
        const HEADER_BYTES: u64 = 320;
        let (entries, completions) = (u64::from(self.entries), u64::from(self.completions));
        let pages = |bytes: u64| bytes.div_ceil(PAGE_BYTES) * PAGE_BYTES;
        let ring = pages(HEADER_BYTES + 16 * completions + 4 * entries) + pages(64 * entries);
        (ring * u64::from(self.rings_per_worker) + self.registered_bytes) * u64::from(workers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEEDS: RingNeeds = RingNeeds {
        driver: "test",
        entries: 4096,
        completions: 8192,
        rings_per_worker: 1,
        registered_bytes: 0,
        setup: |_| {},
        operations: &[],
        kernel: "6.1",
    };

    fn system() -> System {
        System {
            release: "5.4.0".into(),
            is_filtered: false,
            may_lock: false,
            disabled: None,
            memlock_bytes: Some(65536),
        }
    }

    fn explain(errno: Errno, system: &System) -> String {
        let denial = Denial::at(Step::Setup, errno.into());
        denial
            .explain(&NEEDS, 1, system)
            .expect("an errno that denies io_uring")
    }

    #[test]
    fn each_cause_is_named_with_what_was_needed_and_found() {
        let filtered = System {
            is_filtered: true,
            ..system()
        };
        let disabled = System {
            disabled: Some("2".into()),
            ..filtered
        };
        let open = System {
            disabled: Some("0".into()),
            ..system()
        };
        for (errno, system, expected) in [
            (Errno::EPERM, &disabled, ["kernel.io_uring_disabled is 2", "EPERM"]),
            (Errno::ENOSYS, &system(), ["needs Linux 6.1", "this is Linux 5.4.0"]),
            (Errno::EINVAL, &system(), ["needs Linux 6.1", "this is Linux 5.4.0"]),
            (Errno::ENOMEM, &system(), ["needs 413696 bytes", "is 65536 bytes"]),
            (Errno::EPERM, &open, ["security module", "EPERM"]),
        ] {
            let text = explain(errno, system);
            assert!(expected.iter().all(|part| text.contains(part)), "{errno}: {text}");
        }
        let filtered = System {
            is_filtered: true,
            ..system()
        };
        for errno in [Errno::EPERM, Errno::ENOSYS] {
            assert!(explain(errno, &filtered).contains("a seccomp filter denies it"));
        }
    }

    #[test]
    fn an_unknown_operation_names_the_kernel_needed_and_found() {
        let text = Denial::Operation("recv_multi").explain(&NEEDS, 1, &system()).unwrap();
        for expected in ["`recv_multi`", "6.1", "5.4.0"] {
            assert!(text.contains(expected), "no {expected} in {text}");
        }
    }

    #[test]
    fn with_the_right_to_lock_a_lack_of_memory_is_not_blamed_on_the_limit() {
        let root = System {
            may_lock: true,
            ..system()
        };
        assert!(!explain(Errno::ENOMEM, &root).contains("RLIMIT_MEMLOCK"));
    }

    #[test]
    fn an_error_that_says_nothing_of_io_uring_is_passed_on() {
        let denial = Denial::at(Step::Setup, Errno::EMFILE.into());
        assert!(denial.explain(&NEEDS, 1, &system()).is_none());
        assert_eq!(denial.into_error().raw_os_error(), Some(libc::EMFILE));
    }

    /// 8 MiB held 20 rings of 4,096 entries and 292 of 256 on Linux 6.18.
    #[test]
    fn locked_bytes_are_those_the_kernel_charges() {
        const MEMLOCK_BYTES: u64 = 8 << 20;
        assert_eq!(MEMLOCK_BYTES / NEEDS.locked_bytes(1), 20);
        let small = RingNeeds {
            entries: 256,
            completions: 512,
            ..NEEDS
        };
        assert_eq!(MEMLOCK_BYTES / small.locked_bytes(1), 292);
        assert!(!system().could_ever_hold_one(&NEEDS));
        assert_eq!(NEEDS.locked_bytes(3), 3 * NEEDS.locked_bytes(1));
    }
}
