//! The checks are checked: a good server passes all, and each bad one fails those that speak of its vice.

mod model_server;

use echo_contract::catalog::{ExpectedFailure, Frequency, IoInterface};
use echo_contract::conformance::faults::{ROWS, RowFinding, make_row};
use echo_contract::conformance::{Finding, Outcome, Profile, Subject, checks, passed, verify, verify_selected};
use model_server::{ModelLauncher, ModelServer, Options, SocketOptions, Vice};
use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[test]
fn a_good_server_passes_every_check() {
    let launcher = ModelLauncher {
        vice: Vice::None,
        workers: None,
    };
    let mut told = Vec::new();
    let findings = verify(&Subject::started(&launcher, Profile::unbounded()), &mut |finding| {
        told.push(finding.check);
    });
    assert!(passed(&findings), "{:#?}", failures(&findings));
    assert_eq!(told, checks().map(|(_, name)| name).collect::<Vec<_>>());
    assert_eq!(
        not_checked(&findings),
        ["a server that is to use io_uring holds a ring"]
    );
}

#[test]
fn a_good_pool_passes_every_check_with_the_profile_of_its_size() {
    let launcher = ModelLauncher {
        vice: Vice::None,
        workers: Some(80),
    };
    let findings = verify(&Subject::started(&launcher, Profile::pool(80)), &mut |_| {});
    assert!(passed(&findings), "{:#?}", failures(&findings));
    assert_eq!(not_checked(&findings).len(), 1);
}

#[test]
fn a_pool_of_one_is_not_asked_for_a_second_client() {
    let launcher = ModelLauncher {
        vice: Vice::ServesOneAtATime,
        workers: None,
    };
    let subject = Subject::started(&launcher, Profile::pool(1));
    let findings = verify_selected(&subject, &|rule, _| rule <= 3, &mut |_| {});
    assert!(passed(&findings), "{:#?}", failures(&findings));
    assert!(not_checked(&findings).contains(&"idle clients do not hold up another"));
}

#[test]
fn of_an_attached_server_only_what_sockets_show_is_checked() {
    let server = ModelServer::start(Vice::None, Options::default()).expect("a free port");
    let findings = verify(&Subject::attached(server.address, Profile::unbounded()), &mut |_| {});
    assert!(passed(&findings), "{:#?}", failures(&findings));
    for finding in findings {
        let needs_process =
            finding.rule > 3 || [NOTHING_LEFT, URGENT, STREAMS, SLOW_READERS_MEMORY].contains(&finding.check);
        match finding.outcome {
            Outcome::Passed => assert!(!needs_process, "{}", finding.check),
            Outcome::NotChecked(reason) => {
                assert!(needs_process, "{}", finding.check);
                assert_eq!(reason, "needs a server that loadgen started");
            }
            other => panic!("{}: {other:?}", finding.check),
        }
    }
}

#[test]
fn what_is_wrong_on_sockets_fails_the_checks_that_speak_of_it() {
    check_vices(BROKEN_ON_SOCKETS, |broken| {
        let server = ModelServer::start(broken.vice, Options::default()).expect("a free port");
        run(&Subject::attached(server.address, hasty()), broken)
    });
}

#[test]
fn what_is_wrong_in_a_process_fails_the_checks_that_speak_of_it() {
    check_vices(BROKEN_IN_A_PROCESS, |broken| {
        let launcher = ModelLauncher {
            vice: broken.vice,
            workers: None,
        };
        run(&Subject::started(&launcher, hasty()), broken)
    });
}

#[test]
fn every_check_is_shown_to_fail() {
    let shown: BTreeSet<&str> = BROKEN_ON_SOCKETS
        .iter()
        .chain(BROKEN_IN_A_PROCESS)
        .flat_map(|broken| broken.fails.iter().copied())
        .collect();
    let all: BTreeSet<&str> = checks().map(|(_, name)| name).collect();
    assert_eq!(shown, all);
}

#[test]
fn a_fault_says_where_the_bytes_belong() {
    let server = ModelServer::start(Vice::LosesByte100000, Options::default()).expect("a free port");
    let subject = Subject::attached(server.address, hasty());
    let findings = verify_selected(
        &subject,
        &|_, name| name == "16 MiB come back in one stream",
        &mut |_| {},
    );
    let text = &failures(&findings)[0].1;
    assert!(text.starts_with("connection 1, offset 100000: expected "), "{text}");
    assert!(
        text.contains("(these belong to offset 100001: 1 B are missing)"),
        "{text}"
    );
}

#[test]
fn nobody_at_the_address_is_a_failure_and_no_panic() {
    let address = ModelServer::start(Vice::None, Options::default())
        .expect("a free port")
        .address;
    let findings = verify(&Subject::attached(address, hasty()), &mut |_| {});
    assert!(!passed(&findings));
    assert!(failures(&findings).iter().all(|(_, text)| !text.is_empty()));
}

#[test]
fn a_failure_that_the_row_expects_is_told_with_its_reason_and_does_not_count() {
    const EXPECTED: &[ExpectedFailure] = &[
        expected(ONE_BYTE, Frequency::Always),
        expected(PIPELINED, Frequency::AtTimes),
    ];
    let findings = expecting(Vice::HoldsAnOddByte, EXPECTED);
    let [one_byte, pipelined] = findings.as_slice() else {
        panic!("two checks, {findings:#?}");
    };
    for (finding, expected) in [(one_byte, EXPECTED[0]), (pipelined, EXPECTED[1])] {
        let seen_and_expected = matches!(&finding.outcome, Outcome::FailedAsExpected(_, known) if *known == expected);
        assert!(seen_and_expected, "{finding:#?}");
    }
    assert!(passed(&findings));
    let unexpected = expecting(Vice::HoldsAnOddByte, &EXPECTED[..1]);
    assert!(!passed(&unexpected), "of the other one the row says nothing");
}

#[test]
fn a_failure_that_is_expected_each_time_and_never_comes_is_told() {
    const ALWAYS: &[ExpectedFailure] = &[expected(ONE_BYTE, Frequency::Always)];
    const AT_TIMES: &[ExpectedFailure] = &[expected(ONE_BYTE, Frequency::AtTimes)];
    let outcome = |expected| expecting(Vice::None, expected)[0].outcome.clone();
    assert_eq!(outcome(ALWAYS), Outcome::PassedUnexpectedly(ALWAYS[0]));
    assert_eq!(outcome(AT_TIMES), Outcome::Passed);
}

#[test]
fn a_good_server_passes_the_rows_that_can_be_made_here_and_the_others_are_no_pass() {
    for number in [2, 5, 6, 7, 10, 11, 12, 15, 18, 19] {
        let finding = row(number, Vice::None);
        // A busy machine may keep a time from being judged.
        let is_held_up = matches!(&finding.outcome, Outcome::NotChecked(why) if why.contains("held up an idle thread"));
        assert!(finding.outcome == Outcome::Passed || is_held_up, "{finding:#?}");
    }
    for (number, why) in [
        (3, "no limit of processes"),
        (4, "no limit of processes"),
        (13, "no raw packets here"),
    ] {
        let outcome = row(number, Vice::None).outcome;
        assert!(
            matches!(&outcome, Outcome::NotChecked(text) if text.contains(why)),
            "row {number}: {outcome:?}"
        );
    }
}

#[test]
fn a_server_with_a_vice_fails_the_row_that_looks_for_it() {
    for (vice, number) in [
        (Vice::StopsAfter100Resets, 2),
        (Vice::LeavesZombies, 5),
        (Vice::LosesByte100000, 7),
        (Vice::HoldsAnOddByte, 8),
        (Vice::RefusesWithAReset, 9),
        (Vice::KeepsMuchForEachClient, 10),
        (Vice::NeverEndsIdleClients, 11),
        (Vice::StopsAfter100Resets, 12),
        (Vice::ServesElevenOfTen, 14),
        (Vice::ExitsWithOne, 15),
        (Vice::LeaksADescriptorOnReset, 18),
    ] {
        let finding = row(number, vice);
        assert!(matches!(finding.outcome, Outcome::Failed(_)), "{vice:?}: {finding:#?}");
    }
}

#[test]
fn of_an_attached_server_a_row_that_needs_its_process_is_not_tested() {
    let server = ModelServer::start(Vice::None, Options::default()).expect("a free port");
    for (number, is_made) in [(2, true), (8, true), (5, false), (12, false), (18, false)] {
        let row = ROWS.iter().find(|row| row.number == number).expect("a row");
        let subject = Subject::attached(server.address, hasty()).by(Arc::new(SocketOptions));
        let outcome = make_row(row, &subject, &mut |_| {}).outcome;
        match outcome {
            Outcome::Passed => assert!(is_made, "row {number}"),
            Outcome::NotChecked(why) => assert!(
                why.contains("needs a server that loadgen started") != is_made,
                "row {number}: {why}"
            ),
            other => panic!("row {number}: {other:?}"),
        }
    }
}

/// The short form of a row, and of the soak a second.
fn row(number: u8, vice: Vice) -> RowFinding {
    let row = ROWS.iter().find(|row| row.number == number).expect("a row");
    let launcher = ModelLauncher { vice, workers: None };
    // Who waits for a good server on a busy machine waits longer than who waits for a vice.
    let mut profile = if matches!(vice, Vice::None) {
        Profile::unbounded()
    } else {
        hasty()
    };
    profile.soak = Duration::from_secs(1);
    make_row(
        row,
        &Subject::started(&launcher, profile).by(Arc::new(SocketOptions)),
        &mut |_| {},
    )
}

const fn expected(check: &'static str, frequency: Frequency) -> ExpectedFailure {
    ExpectedFailure {
        check,
        frequency,
        why: "the model is so",
    }
}

/// What becomes of two checks.
fn expecting(vice: Vice, expected: &'static [ExpectedFailure]) -> Vec<Finding> {
    let server = ModelServer::start(vice, Options::default()).expect("a free port");
    let subject = Subject::attached(server.address, hasty()).expecting(expected);
    verify_selected(&subject, &|_, name| [ONE_BYTE, PIPELINED].contains(&name), &mut |_| {})
}

/// A server with one vice, and what must come of it.
struct Broken {
    vice: Vice,
    /// The rules whose checks are made.
    rules: RangeInclusive<u8>,
    /// The checks that fail.
    fails: &'static [&'static str],
    /// The checks that may fail too, by how threads happen to run.
    may_fail: &'static [&'static str],
}

const fn broken(vice: Vice, rules: RangeInclusive<u8>, fails: &'static [&'static str]) -> Broken {
    Broken {
        vice,
        rules,
        fails,
        may_fail: &[],
    }
}

const URGENT: &str = "bytes behind an urgent one come back without another segment";
const EMPTY: &str = "an empty connection gets a FIN and no byte";
const ONE_BYTE: &str = "one byte comes back";
const IN_TURN: &str = "1,000 messages of 64 B come back in turn";
const PIPELINED: &str = "100 pipelined bursts of small messages come back in order";
const MESSAGES_64_KIB: &str = "messages of 64 KiB come back whole";
const CUT: &str = "1 MiB comes back however its writes are cut";
const STREAM_16_MIB: &str = "16 MiB come back in one stream";
const AT_THE_SAME_TIME: &str = "clients served at the same time each get their own bytes";
const ONE_AFTER_THE_OTHER: &str = "200 clients one after the other each start from nothing";
const FIN_1_B: &str = "1 B and a FIN bring 1 B and a FIN";
const FIN_64_KIB: &str = "64 KiB and a FIN, read only after both, bring 64 KiB and a FIN";
const FIN_64_MIB: &str = "64 MiB and a FIN, read all the while, bring 64 MiB and a FIN";
const FIN_BEHIND_BUFFERS: &str = "a FIN behind full buffers loses nothing of what is owed";
const FIN_AFTER_CLIENT: &str = "the server says FIN only after the client did";
const FIN_OF_ANOTHER: &str = "a FIN on one connection does not end another";
const RANDOM_FINS: &str = "1,000 connections half-closed at random moments each get the rest and a FIN";
const SLOW_READER: &str = "a slow reader stops being read from and loses nothing";
const NEVER_READ: &str = "clients that write and never read do not hold up another";
const IDLE: &str = "idle clients do not hold up another";
const DRIBBLERS: &str = "clients that send a byte at a time do not hold up another";
const RESETS: &str = "500 resets do not hold up another client";
const STREAMS: &str = "clients that stream without pause do not hold up another";
const SLOW_READERS_MEMORY: &str = "a slow reader that is owed 16 MiB costs the server a buffer and little more";
const NOTHING_LEFT: &str = "clients in trouble leave no descriptor and no child behind";
const TEN_OF_15: &str = "with --max-connections 10 exactly 10 of 15 clients are served and 5 get a FIN";
const REFUSED: &str = "a refused client that sends data gets a FIN and no reset";
const ONE_LEAVES: &str = "when one of 10 leaves, one more is served, and no second one";
const COUNTED: &str = "STATS counts the served and the refused apart";
const BURST: &str = "of 100 clients at once 10 are served and 90 get a FIN, and keep nobody out though they stay";
const FREE_PLACE: &str = "who has seen the end of another's connection finds its place free";
const IDLE_STAY: &str = "clients that were ended for idling and stay keep nobody out";
const REFUSED_STAY: &str = "with 64 descriptors, 60 refused clients that stay keep no newcomer out";
const CARELESS: &str = "signals that the parent blocked or ignored, and its alarm, change nothing";
const FULL_STDERR: &str = "a full stderr that nobody reads holds up neither clients nor the stop";
const AT_REST: &str = "out of descriptors the server rests, and its clients do not notice";
const ROOM_AGAIN: &str = "out of descriptors waiting clients are served as soon as others leave";
const VANISHING: &str = "1,000 clients that vanish at once do no harm";
const STOP_ALONE: &str = "without clients SIGTERM ends the server with exit code 0 and STATS";
const EXACT: &str = "STATS tells exactly what the clients did";
const TERM_STREAMING: &str = "SIGTERM gives streaming clients an exact prefix of their echo, then a FIN";
const INT_STREAMING: &str = "SIGINT gives streaming clients an exact prefix of their echo, then a FIN";
const TERM_IDLE: &str = "SIGTERM gives idle clients a FIN";
const NOBODY_NEW: &str = "after SIGTERM nobody new can connect";
const DRAIN_TIMEOUT: &str = "a client that neither reads nor closes does not hold the exit beyond --drain-timeout";
const SECOND_SIGNAL: &str = "a second SIGTERM ends the server at once and not with exit code 0";
const ZOMBIES: &str = "200 short connections leave no zombie and no child behind";
const ORPHANS: &str = "SIGKILL of the first process leaves nobody behind that serves";
const LOOPBACK_ONLY: &str = "without --bind it listens on 127.0.0.1 and on nothing else";
const NO_WARNING: &str = "without --bind there is no warning";
const WARNING: &str = "--bind 0.0.0.0 is obeyed and warned of on stderr";
const NAMES_PROCESS: &str = "READY names the process that runs and the target it was started as";
const DEFAULTS: &str = "READY tells the defaults that all servers share";
const FLAGS: &str = "READY tells what the flags changed, and the echo stays whole";
const NODELAY: &str = "an answer in two writes does not wait for a delayed acknowledgement";
const IDLE_TIMEOUT: &str = "--idle-timeout 1s ends an idle client with a FIN and leaves an active one alone";
const WORK: &str = "--work 5ms burns 5 ms of CPU for each read";
const WORK_SOURCE: &str = "--work-source 127.0.0.2 burns nothing for a client from 127.0.0.1";
const RING: &str = "a server that is to use io_uring holds a ring";

/// Whoever spoils the exit or STATS fails wherever a server is asked to stop once.
const EVERY_ORDERLY_STOP: &[&str] = &[
    STOP_ALONE,
    EXACT,
    TERM_STREAMING,
    INT_STREAMING,
    TERM_IDLE,
    NOBODY_NEW,
    DRAIN_TIMEOUT,
    CARELESS,
    FULL_STDERR,
];

const BROKEN_ON_SOCKETS: &[Broken] = &[
    Broken {
        may_fail: &[RESETS],
        ..broken(
            Vice::ServesOneAtATime,
            1..=3,
            &[
                AT_THE_SAME_TIME,
                FIN_OF_ANOTHER,
                RANDOM_FINS,
                NEVER_READ,
                IDLE,
                DRIBBLERS,
            ],
        )
    },
    broken(
        Vice::LosesWhatItOwesAtFin,
        1..=3,
        &[
            FIN_1_B,
            FIN_64_KIB,
            FIN_64_MIB,
            FIN_BEHIND_BUFFERS,
            RANDOM_FINS,
            SLOW_READER,
            NEVER_READ,
        ],
    ),
    broken(
        Vice::HoldsAnOddByte,
        1..=3,
        &[ONE_BYTE, PIPELINED, AT_THE_SAME_TIME, RANDOM_FINS, DRIBBLERS],
    ),
    broken(
        Vice::LosesByte100000,
        1..=3,
        &[
            MESSAGES_64_KIB,
            CUT,
            STREAM_16_MIB,
            FIN_64_MIB,
            FIN_BEHIND_BUFFERS,
            RANDOM_FINS,
            SLOW_READER,
            NEVER_READ,
        ],
    ),
    broken(Vice::AnswersEmptiness, 1..=3, &[EMPTY, RANDOM_FINS, IDLE]),
    Broken {
        // As many small writes may arrive as so many messages.
        may_fail: &[PIPELINED, CUT, RANDOM_FINS],
        ..broken(
            Vice::EndsAfter500Messages,
            1..=3,
            &[
                IN_TURN,
                STREAM_16_MIB,
                FIN_64_MIB,
                FIN_BEHIND_BUFFERS,
                SLOW_READER,
                NEVER_READ,
            ],
        )
    },
    Broken {
        // How many of its clients are there at the same time depends on how fast they come and go.
        may_fail: &[RANDOM_FINS],
        ..broken(
            Vice::MixesUpManyClients,
            1..=3,
            &[AT_THE_SAME_TIME, NEVER_READ, IDLE, DRIBBLERS],
        )
    },
    broken(Vice::HangsUpOnEvery150th, 1..=1, &[ONE_AFTER_THE_OTHER]),
    broken(Vice::ResetsLongStreams, 1..=3, &[FIN_64_MIB]),
    Broken {
        // On a busy machine others are quiet for too long as well.
        may_fail: &[FIN_1_B, FIN_64_KIB, FIN_64_MIB, FIN_OF_ANOTHER, RANDOM_FINS],
        ..broken(Vice::EndsQuietClients, 2..=2, &[FIN_AFTER_CLIENT, FIN_BEHIND_BUFFERS])
    },
    broken(Vice::EndsAllWithOne, 2..=2, &[FIN_OF_ANOTHER, RANDOM_FINS]),
    broken(Vice::AddsAByteInACrowd, 2..=2, &[RANDOM_FINS]),
    broken(Vice::ReadsWithoutBound, 1..=3, &[SLOW_READER]),
    broken(Vice::WritesUnderOneLock, 1..=3, &[NEVER_READ]),
    broken(Vice::StopsAfter100Resets, 3..=3, &[RESETS]),
];

const BROKEN_IN_A_PROCESS: &[Broken] = &[
    broken(Vice::LosesUrgentBytes, 1..=1, &[URGENT]),
    broken(Vice::LeaksADescriptorOnReset, 3..=3, &[NOTHING_LEFT]),
    broken(Vice::LetsStreamsHoldOthersUp, 3..=3, &[STREAMS]),
    broken(Vice::KeepsMuchForEachClient, 3..=3, &[SLOW_READERS_MEMORY]),
    broken(Vice::LetsTheRefusedKeepOthersOut, 4..=4, &[REFUSED_STAY]),
    broken(
        Vice::NeverFreesAPlace,
        4..=4,
        &[ONE_LEAVES, BURST, FREE_PLACE, IDLE_STAY, REFUSED_STAY, ROOM_AGAIN],
    ),
    broken(
        Vice::ServesElevenOfTen,
        4..=4,
        &[TEN_OF_15, REFUSED, ONE_LEAVES, COUNTED, BURST, REFUSED_STAY],
    ),
    broken(
        Vice::RefusesWithAReset,
        4..=4,
        &[TEN_OF_15, REFUSED, ONE_LEAVES, COUNTED, BURST, REFUSED_STAY],
    ),
    broken(Vice::CountsTheRefusedAsServed, 4..=4, &[COUNTED]),
    broken(
        Vice::RefusesBeforeItAcceptsTheNext,
        4..=4,
        &[TEN_OF_15, REFUSED, COUNTED, BURST, REFUSED_STAY],
    ),
    broken(
        Vice::FreesAPlaceLate,
        4..=4,
        &[BURST, FREE_PLACE, IDLE_STAY, REFUSED_STAY],
    ),
    broken(
        Vice::LiesInStats(|stats| stats.accept_errors += 1_000_000),
        4..=4,
        &[AT_REST],
    ),
    broken(Vice::SpinsWhenFull, 4..=4, &[AT_REST]),
    broken(Vice::TalksWhenFull, 4..=4, &[AT_REST]),
    broken(Vice::RefusesWhenFull, 4..=4, &[AT_REST, ROOM_AGAIN]),
    broken(Vice::ForgetsWhoWaits, 4..=4, &[ROOM_AGAIN]),
    broken(Vice::LeaksADescriptorOnVanished, 4..=4, &[VANISHING]),
    broken(Vice::ExitsWithOne, 5..=5, EVERY_ORDERLY_STOP),
    broken(Vice::PrintsNoStats, 5..=5, EVERY_ORDERLY_STOP),
    broken(
        Vice::LiesInStats(|stats| stats.bytes_out += 1),
        5..=5,
        EVERY_ORDERLY_STOP,
    ),
    broken(Vice::LiesInStats(|stats| stats.closed += 1), 5..=5, EVERY_ORDERLY_STOP),
    broken(
        Vice::LiesInStats(|stats| {
            stats.bytes_in += 7;
            stats.bytes_out += 7;
        }),
        5..=5,
        &[EXACT, TERM_STREAMING, INT_STREAMING],
    ),
    broken(
        Vice::AddsAByteOnStop,
        5..=5,
        &[TERM_STREAMING, INT_STREAMING, TERM_IDLE, NOBODY_NEW, CARELESS],
    ),
    Broken {
        // It resets who sends on. And who was reset is owed nothing more: whether the server is gone before the second
        // signal comes is a race.
        may_fail: &[TERM_IDLE, SECOND_SIGNAL],
        ..broken(Vice::ResetsOnStop, 5..=5, &[TERM_STREAMING, INT_STREAMING])
    },
    Broken {
        // Nothing is unread in a client that the server has just read from: its end is a FIN.
        // And whether it is gone before the second signal comes is a race.
        may_fail: &[TERM_STREAMING, INT_STREAMING, SECOND_SIGNAL],
        ..broken(Vice::DoesNotDrain, 5..=5, &[])
    },
    broken(Vice::IgnoresInterrupt, 5..=5, &[INT_STREAMING]),
    broken(Vice::ListensOnAfterStop, 5..=5, &[NOBODY_NEW]),
    broken(Vice::ForgetsIdleClientsOnStop, 5..=5, &[TERM_IDLE]),
    broken(Vice::DrainsForEver, 5..=5, &[DRAIN_TIMEOUT]),
    broken(Vice::ExitsWithZeroOnSecondSignal, 5..=5, &[SECOND_SIGNAL]),
    broken(Vice::IgnoresSecondSignal, 5..=5, &[SECOND_SIGNAL]),
    broken(Vice::LeavesZombies, 5..=5, &[ZOMBIES]),
    broken(Vice::LeavesOrphans, 5..=5, &[ORPHANS]),
    broken(Vice::ObeysACarelessParent, 5..=5, &[CARELESS]),
    broken(Vice::WaitsForStderr, 5..=5, &[FULL_STDERR]),
    broken(Vice::ListensEverywhere, 6..=6, &[LOOPBACK_ONLY]),
    broken(Vice::WarnsAlways, 6..=6, &[NO_WARNING]),
    broken(Vice::WarnsNever, 6..=6, &[WARNING]),
    broken(Vice::DelaysSmallAnswers, 7..=7, &[NODELAY]),
    broken(Vice::NeverEndsIdleClients, 7..=7, &[IDLE_TIMEOUT]),
    broken(Vice::EndsActiveClients, 7..=7, &[IDLE_TIMEOUT]),
    broken(Vice::EndsIdleClientsAtOnce, 7..=7, &[IDLE_TIMEOUT]),
    broken(Vice::SkipsWork, 7..=7, &[WORK]),
    broken(Vice::WorksForAll, 7..=7, &[WORK_SOURCE]),
    broken(Vice::LiesInReady(|ready| ready.pid = 0), 7..=7, &[NAMES_PROCESS]),
    broken(
        Vice::LiesInReady(|ready| ready.runtime_version.clear()),
        7..=7,
        &[NAMES_PROCESS],
    ),
    broken(
        Vice::LiesInReady(|ready| ready.target = "event-tokio".into()),
        7..=7,
        &[NAMES_PROCESS],
    ),
    broken(
        Vice::LiesInReady(|ready| ready.buffer_policy = None),
        7..=7,
        &[NAMES_PROCESS],
    ),
    broken(Vice::LiesInReady(|ready| ready.nodelay = false), 7..=7, &[DEFAULTS]),
    broken(
        Vice::LiesInReady(|ready| ready.congestion_control = "bbr".into()),
        7..=7,
        &[DEFAULTS],
    ),
    broken(Vice::LiesInReady(|ready| ready.buffer_bytes = 16384), 7..=7, &[FLAGS]),
    broken(
        Vice::LiesInReady(|ready| ready.work_source = None),
        7..=7,
        &[WORK_SOURCE],
    ),
    broken(
        Vice::LiesInReady(|ready| ready.io_interface = IoInterface::IoUring),
        8..=8,
        &[RING],
    ),
];

/// Less patience than a user's, since most of these servers are to fail.
fn hasty() -> Profile {
    let mut profile = Profile::unbounded();
    profile.patience = Duration::from_secs(4);
    profile
}

fn run(subject: &Subject<'_>, broken: &Broken) -> Vec<Finding> {
    verify_selected(subject, &|rule, _| broken.rules.contains(&rule), &mut |_| {})
}

/// Runs a few at a time, since they mostly wait, and compares what failed with what should.
fn check_vices(all: &[Broken], run: impl Fn(&Broken) -> Vec<Finding> + Sync) {
    const AT_A_TIME: usize = 4;
    let next = Mutex::new(all.iter());
    let surprises = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let Some(broken) = next.lock().expect("no panic while locked").next() else {
                        return;
                    };
                    let findings = run(broken);
                    if let Some(surprise) = surprise(broken, &findings) {
                        surprises.lock().expect("no panic while locked").push(surprise);
                    }
                }
            });
        }
    });
    let surprises = surprises.into_inner().expect("no panic while locked");
    assert!(surprises.is_empty(), "{}", surprises.join("\n"));
}

fn surprise(broken: &Broken, findings: &[Finding]) -> Option<String> {
    let failures = failures(findings);
    let failed = |name: &str| failures.iter().any(|(check, _)| *check == name);
    let missed: Vec<_> = broken.fails.iter().filter(|name| !failed(name)).collect();
    let unexpected: Vec<_> = failures
        .iter()
        .filter(|(check, _)| !broken.fails.contains(check) && !broken.may_fail.contains(check))
        .collect();
    (!missed.is_empty() || !unexpected.is_empty()).then(|| {
        format!(
            "{:?}: should fail but passed {missed:#?}, unexpected {unexpected:#?}",
            broken.vice
        )
    })
}

fn failures(findings: &[Finding]) -> Vec<(&'static str, String)> {
    findings
        .iter()
        .filter_map(|finding| match &finding.outcome {
            Outcome::Failed(text) => Some((finding.check, text.clone())),
            _ => None,
        })
        .collect()
}

fn not_checked(findings: &[Finding]) -> Vec<&'static str> {
    findings
        .iter()
        .filter(|finding| matches!(finding.outcome, Outcome::NotChecked(_)))
        .map(|finding| finding.check)
        .collect()
}
