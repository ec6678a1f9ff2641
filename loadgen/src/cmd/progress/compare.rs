//! What the user sees on stderr while a suite runs: a bar on a terminal, plain lines elsewhere. stdout stays for the result.

use crate::compare::runner::{Now, TrialProgress, View};
use crate::notice::notice;
use crate::record::Measurement;
use crate::report::terminal;
use crate::suite::matrix::SuiteFile;
use crate::suite::results::{Results, why_not};
use crate::text::{figure, minutes};
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// The view for this stderr.
#[must_use]
pub fn view(quiet: bool) -> Box<dyn View> {
    if quiet {
        Box::new(Silent)
    } else if Term::stderr().is_term() && !console::is_dumb() {
        Box::new(Bar::new())
    } else {
        Box::new(Lines)
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

/// A bar with what runs now; under it nothing, above it the newest table.
struct Bar {
    bar: ProgressBar,
    /// Lines of the overview above the bar, to be replaced by the next one.
    overview_lines: usize,
}

impl Bar {
    fn new() -> Self {
        let bar = ProgressBar::with_draw_target(Some(BAR_LENGTH), ProgressDrawTarget::stderr());
        bar.set_style(
            ProgressStyle::with_template("{bar:24} {msg}")
                .expect("the template is right")
                .progress_chars("=> "),
        );
        Self { bar, overview_lines: 0 }
    }

    fn show(&self, now: &Now, phase: &str) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of 1000")]
        let position = (now.done.clamp(0.0, 1.0) * 1000.0) as u64;
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

    fn trial_ends(&mut self, now: &Now, measurement: &Measurement) {
        if let Some(text) = trouble(now, measurement) {
            self.overview_lines = 0;
            self.bar.suspend(|| notice(text));
        }
    }

    fn workload_ends(&mut self, workload: &str, file: &SuiteFile, results: &Results) {
        let (_, columns) = Term::stderr().size();
        let text = first_table(workload, file, results, columns);
        self.bar.suspend(|| eprint!("{text}"));
    }

    fn round_ends(&mut self, round: u32, file: &SuiteFile, results: &Results, _left: Duration) {
        let term = Term::stderr();
        let (rows, columns) = term.size();
        let text = overview_after(round, file, results, columns);
        let old = std::mem::replace(&mut self.overview_lines, text.lines().count());
        self.bar.suspend(|| {
            // The newer overview takes the place of the older one, unless that has scrolled out of reach.
            if old > 0 && old + 2 < usize::from(rows) {
                let _ = term.clear_last_lines(old);
            }
            eprint!("{text}");
        });
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// One line per trial, and the tables as they come: for logs.
struct Lines;

impl View for Lines {
    fn trial_begins(&mut self, _now: &Now) {}

    fn trial_moves(&mut self, _now: &Now, _progress: TrialProgress) {}

    fn trial_ends(&mut self, now: &Now, measurement: &Measurement) {
        let text = trouble(now, measurement).unwrap_or_else(|| {
            format!(
                "{}: {} messages/s",
                what(now),
                figure(measurement.throughput.messages_per_s)
            )
        });
        notice(format_args!("{text}, about {} left", minutes(now.left)));
    }

    fn workload_ends(&mut self, workload: &str, file: &SuiteFile, results: &Results) {
        eprint!("{}", first_table(workload, file, results, 100));
    }

    fn round_ends(&mut self, round: u32, file: &SuiteFile, results: &Results, _left: Duration) {
        eprint!("{}", overview_after(round, file, results, 100));
    }
}

/// `--quiet`: the result only.
struct Silent;

impl View for Silent {
    fn trial_begins(&mut self, _now: &Now) {}

    fn trial_moves(&mut self, _now: &Now, _progress: TrialProgress) {}

    fn trial_ends(&mut self, _now: &Now, _measurement: &Measurement) {}

    fn workload_ends(&mut self, _workload: &str, _file: &SuiteFile, _results: &Results) {}

    fn round_ends(&mut self, _round: u32, _file: &SuiteFile, _results: &Results, _left: Duration) {}
}

fn first_table(workload: &str, file: &SuiteFile, results: &Results, width: u16) -> String {
    let table = file.suite.workload(workload);
    let table = table.map_or_else(String::new, |workload| terminal::workload(workload, results, width));
    format!("\nfirst table, from one trial each; it sharpens with every round\n\n{table}\n")
}

/// Fits on a screen and can be replaced in place.
fn overview_after(round: u32, file: &SuiteFile, results: &Results, width: u16) -> String {
    format!(
        "\nafter round {round}\n\n{}\n",
        terminal::overview(file, results, width)
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

/// A line for a trial that does not count.
fn trouble(now: &Now, measurement: &Measurement) -> Option<String> {
    let reasons = why_not(measurement);
    (!measurement.valid || !measurement.complete).then(|| format!("{}: INVALID: {}", what(now), reasons.join("; ")))
}
