//! What the user sees on stderr while a suite runs: a bar on a terminal, plain lines elsewhere. stdout stays for the result.

use crate::compare::runner::{Block, Now, TrialProgress, View};
use crate::notice::notice;
use crate::record::Measurement;
use crate::report::screen;
use crate::suite::matrix::SuiteFile;
use crate::suite::results::Results;
use crate::text::{counted, minutes};
use crate::units::floor_u64;
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The view for this stderr.
#[must_use]
pub fn view(quiet: bool) -> Box<dyn View> {
    if quiet {
        Box::new(Silent)
    } else if Term::stderr().is_term() && !console::is_dumb() {
        Box::new(Bar::new())
    } else {
        Box::new(Lines::default())
    }
}

/// Width of the terminal behind stdout, or what a table needs at least.
#[must_use]
pub fn width() -> u16 {
    Term::stdout()
        .size_checked()
        .map_or(100, |(_, columns)| columns.max(60))
}

/// Parts of the bar; done is a share.
const BAR_LENGTH: u64 = 1000;

/// One line that is drawn over, and the first table above it.
struct Bar {
    bar: ProgressBar,
    shown: bool,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(BAR_LENGTH), ProgressDrawTarget::stderr());
        bar.set_style(
            ProgressStyle::with_template("{bar:24} {msg}")
                .expect("the template is right")
                .progress_chars("=> "),
        );
        Self { bar, shown: false }
    }

    fn show(&self, now: &Now, phase: &str) {
        let position = floor_u64(now.done.clamp(0.0, 1.0) * 1000.0);
        self.bar.set_position(position);
        self.bar
            .set_message(format!("{}, {phase}, {} left", what(now), minutes(now.left)));
    }
}

impl View for Bar {
    fn trial_begins(&mut self, now: &Now) {
        self.show(now, "starting");
    }

    fn trial_moves(&mut self, now: &Now, progress: TrialProgress) {
        self.show(now, &phase(progress));
    }

    fn trial_ends(&mut self, _now: &Now, _measurement: &Measurement) {}

    fn block_ends(&mut self, block: &Block, file: &SuiteFile, results: &Results) {
        if !std::mem::replace(&mut self.shown, true) {
            let text = first_table(&block.workload, file, results, width());
            self.bar.suspend(|| notice(text));
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// One line per block, and the first table: for logs.
#[derive(Default)]
struct Lines {
    shown: bool,
}

impl View for Lines {
    fn trial_begins(&mut self, _now: &Now) {}

    fn trial_moves(&mut self, _now: &Now, _progress: TrialProgress) {}

    fn trial_ends(&mut self, _now: &Now, _measurement: &Measurement) {}

    fn block_ends(&mut self, block: &Block, file: &SuiteFile, results: &Results) {
        notice(line(block));
        if !std::mem::replace(&mut self.shown, true) {
            notice(first_table(&block.workload, file, results, width()));
        }
    }
}

/// `--quiet`: the result only.
struct Silent;

impl View for Silent {
    fn trial_begins(&mut self, _now: &Now) {}

    fn trial_moves(&mut self, _now: &Now, _progress: TrialProgress) {}

    fn trial_ends(&mut self, _now: &Now, _measurement: &Measurement) {}

    fn block_ends(&mut self, _block: &Block, _file: &SuiteFile, _results: &Results) {}
}

fn first_table(workload: &str, file: &SuiteFile, results: &Results, width: u16) -> String {
    let table = screen::overview(file, results, workload, width);
    format!("\nfirst table, from one trial each; it sharpens with every round\n\n{table}\n")
}

/// `round 2 of 7, steady: 9 trials, capacity stands in 9; about 5 min 10 s left`; what is void with its commonest reason.
fn line(block: &Block) -> String {
    let why = block
        .worst
        .as_deref()
        .map_or_else(String::new, |why| format!(" ({why})"));
    format!(
        "round {} of {}, {}: {}, capacity stands in {}{why}; about {} left",
        block.round,
        block.rounds_expected,
        block.workload,
        counted(block.trials as u64, "trial", "trials"),
        block.standing,
        minutes(block.left)
    )
}

fn what(now: &Now) -> String {
    let again = if now.attempt > 1 {
        format!(" (try {})", now.attempt)
    } else {
        String::new()
    };
    format!(
        "round {} of {}, {}/{}: {} {}{again}",
        now.round, now.rounds_expected, now.position, now.positions, now.target, now.workload
    )
}

fn phase(progress: TrialProgress) -> String {
    format!("{} {:.0} %", progress.phase, progress.fraction.clamp(0.0, 1.0) * 100.0)
}
