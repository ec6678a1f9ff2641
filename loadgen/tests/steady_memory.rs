//! What the engine takes from the allocator: nothing while it measures, and little for each client.
//!
//! The allocator counts in all threads of this process, so the server is another process (`thread`, the plainest one) and the
//! tests take turns.

mod support;

use loadgen::engine::{self, Directive, Moment, Observer, Progress};
use loadgen::record::{Plan, Workload};
use loadgen::subject::{self, Request, Server};
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{closed_loop, open_loop, payload, plan};

/// Counts calls, and bytes in use and at most.
struct Counting;

static CALLS: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
static BYTES_MAX: AtomicU64 = AtomicU64::new(0);
static TURN: Mutex<()> = Mutex::new(());

// SAFETY: every call is handed to the system's allocator as it came; the counters are no part of it.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        CALLS.fetch_add(1, Ordering::Relaxed);
        let bytes = BYTES.fetch_add(layout.size() as u64, Ordering::Relaxed) + layout.size() as u64;
        BYTES_MAX.fetch_max(bytes, Ordering::Relaxed);
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        BYTES.fetch_sub(layout.size() as u64, Ordering::Relaxed);
        // SAFETY: the caller's promise that `pointer` came from `alloc` with this `layout` is passed on.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Reads the counter at the ends of the measured phase, and allocates nothing itself.
#[derive(Default)]
struct Counts {
    from: u64,
    to: u64,
}

impl Observer for Counts {
    fn moment(&mut self, moment: Moment<'_>) {
        match moment {
            Moment::MeasuredFrom => self.from = CALLS.load(Ordering::Relaxed),
            Moment::MeasuredTo => self.to = CALLS.load(Ordering::Relaxed),
            _ => {}
        }
    }

    fn look(&mut self, _progress: Progress) -> Directive {
        Directive::Continue
    }
}

fn thread_server() -> Server {
    subject::obtain(&Request {
        connect_timeout: Duration::from_secs(10),
        ..Request::start("thread")
    })
    .unwrap()
}

/// Allocations of the measured phase, and messages in it.
fn measured(plan: &Plan) -> (u64, u64) {
    let server = thread_server();
    let mut counts = Counts::default();
    let recorded = engine::run(plan, &payload(plan), server.address(), &mut counts).unwrap();
    assert!(server.stop().clean);
    (counts.to - counts.from, recorded.recorder.outcomes.counts.ok)
}

#[test]
fn nothing_is_allocated_in_the_measured_phase() {
    let _turn = TURN.lock().unwrap();
    let churn = Workload {
        churn: true,
        ..closed_loop(10, 500)
    };
    let pipelined = Workload {
        pipeline: 16,
        size_max_bytes: 3_000,
        ..closed_loop(20, 500)
    };
    for (name, workload) in [
        ("closed loop", closed_loop(50, 500)),
        ("pipeline of 16", pipelined),
        ("a connection per message", churn),
        ("open loop", open_loop(50, 5_000, 500)),
    ] {
        let (allocations, messages) = measured(&plan(workload));
        assert!(messages > 100, "{name}: {messages} messages");
        assert_eq!(allocations, 0, "{name}: allocations during {messages} messages");
    }
}

#[test]
fn a_client_takes_less_than_a_kib() {
    let _turn = TURN.lock().unwrap();
    let peak = |clients| {
        let server = thread_server();
        BYTES_MAX.store(BYTES.load(Ordering::Relaxed), Ordering::Relaxed);
        let before = BYTES.load(Ordering::Relaxed);
        let plan = plan(open_loop(clients, 1_000, 300));
        engine::run(&plan, &payload(&plan), server.address(), &mut Counts::default()).unwrap();
        assert!(server.stop().clean);
        BYTES_MAX.load(Ordering::Relaxed) - before
    };
    let (few, many) = (peak(50), peak(550));
    let each = (many - few) / 500;
    println!("{each} bytes of user memory for each client, {few} bytes for 50 clients and all else");
    assert!(each > 0 && each <= 1024, "{each} bytes for each client");
}
