//! The generator against the truth server: the accuracy tests that finish in seconds, one after the other.
//!
//! Counts and lower bounds hold on any machine, and fail the test. Upper bounds of times are `loadgen calibrate`'s to judge: this
//! machine may do much else between two looks at how quiet it is, so here they fail only where they are many times off, and
//! what they say is told on the terminal.

use loadgen::calibration::bench::{Bench, Length};
use loadgen::calibration::scorecard::{Check, Finding, Kind, Verdict};
use loadgen::calibration::suite::{self, Progress};
use loadgen::record::Placement;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Command, Stdio};

/// A generator that is so many times off is wrong on any machine.
const TIMES_OFF: f64 = 50.0;

#[test]
fn the_generator_measures_what_the_formulas_demand() {
    let bench = Bench {
        placement: Placement {
            asked: "off".into(),
            server_cpus: vec![],
            loadgen_cpus: vec![],
            shared: true,
        },
        seed: 1,
        length: Length::Short,
        interrupted: &|| false,
    };
    let mut findings = Vec::new();
    suite::run(&bench, &mut findings, &mut |progress| {
        if let Progress::Ended(finding) = progress {
            println!("{finding:#?}");
        }
    })
    .unwrap();
    let tests: Vec<&str> = findings.iter().map(|finding| finding.test).collect();
    assert_eq!(tests, ["AC1", "AC2", "AC3", "AC4", "AC6", "AC7", "AC8", "AC9"]);
    for finding in &findings {
        let missed = finding.checks.iter().filter(|check| !check.holds());
        let excused = |check: &Check| check.kind != Kind::Exact;
        assert!(missed.clone().all(excused), "{finding:#?}");
        let only_by_times = finding.verdict == Verdict::Fail && missed.count() > 0;
        assert!(only_by_times || finding.verdict != Verdict::Fail, "{finding:#?}");
        if finding.verdict != Verdict::Pass {
            say_loudly(finding);
        }
    }
    // These have no times to judge, so nothing excuses them.
    for exact in ["AC8", "AC9"] {
        let finding = findings.iter().find(|finding| finding.test == exact).unwrap();
        assert_eq!(finding.verdict, Verdict::Pass, "{finding:#?}");
    }
    for timed in ["AC1", "AC3"] {
        let finding = findings.iter().find(|finding| finding.test == timed).unwrap();
        for check in finding.checks.iter().filter(|check| check.unit == "ms") {
            assert!(check.measured <= TIMES_OFF * check.expected.unwrap(), "{check:#?}");
        }
    }
}

#[test]
fn an_interrupted_calibration_tells_what_it_has_and_exits_130() {
    let mut loadgen = Command::new(env!("CARGO_BIN_EXE_loadgen"))
        .args(["calibrate", "--quick", "--pin", "off", "--output-format", "json"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = BufReader::new(loadgen.stderr.take().unwrap()).lines();
    // AC8 needs no server, AC9 is the first that does.
    assert!(told.by_ref().any(|line| line.unwrap().starts_with("AC9: running")));
    kill(Pid::from_raw(loadgen.id().cast_signed()), Signal::SIGINT).unwrap();
    let rest: Vec<String> = told.map(Result::unwrap).collect();
    let mut card = String::new();
    loadgen.stdout.take().unwrap().read_to_string(&mut card).unwrap();
    assert_eq!(loadgen.wait().unwrap().code(), Some(130), "{rest:?}");
    let card: serde_json::Value = serde_json::from_str(&card).unwrap();
    assert_eq!(
        (&card["complete"], &card["verdict"]),
        (&false.into(), &"inconclusive".into())
    );
    assert_eq!(card["findings"][0]["test"], "AC8");
}

/// Past the capture of the test harness, which shows nothing of a test that passes.
fn say_loudly(finding: &Finding) {
    let why = finding.why.as_deref().unwrap_or_default();
    let _ = writeln!(
        std::io::stderr(),
        "\naccuracy test {} is {:?} after {} tries, only its counts and lower bounds are proven: {why}\n",
        finding.test,
        finding.verdict,
        finding.attempts
    );
}
