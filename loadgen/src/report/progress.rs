//! The live line of a single run on stderr: phase, rate so far, errors. Plain terminals and `--quiet` get nothing.

use crate::engine::Progress;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal as _;

/// One line that is drawn over.
pub struct Line(ProgressBar);

impl Line {
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        let hidden = quiet || !std::io::stderr().is_terminal();
        let target = if hidden {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr_with_hz(10)
        };
        let bar = ProgressBar::with_draw_target(Some(1000), target);
        let style = ProgressStyle::with_template("{bar:24} {msg}").expect("the template is valid");
        bar.set_style(style.progress_chars("=> "));
        Self(bar)
    }

    pub fn show(&mut self, progress: &Progress) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a fraction of 1000"
        )]
        self.0.set_position((progress.fraction.clamp(0.0, 1.0) * 1000.0) as u64);
        self.0.set_message(format!(
            "{}  {} connected, {} messages, {} errors",
            progress.phase, progress.connected, progress.ok, progress.errors
        ));
    }

    pub fn clear(&mut self) {
        self.0.finish_and_clear();
    }
}
