//! What goes on during a single run, on stderr: a line that is drawn over on a terminal, a plain line a second elsewhere,
//! nothing with `--quiet`.

use crate::engine::{Phase, Progress};
use crate::notice::notice;
use crate::text::{count, figure, time_ns};
use crate::units::floor_u64;
use console::Term;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Time between two plain lines of one phase.
const CADENCE: Duration = Duration::from_secs(1);

/// The view for this stderr.
pub enum Line {
    /// One line that is drawn over.
    Bar(ProgressBar),
    /// Lines for logs: phase of the last one, and when in it the next one is due.
    Plain(Option<Phase>, Duration),
    Silent,
}

impl Line {
    #[must_use]
    pub fn new(quiet: bool) -> Self {
        if quiet {
            return Self::Silent;
        }
        if !Term::stderr().is_term() || console::is_dumb() {
            return Self::Plain(None, CADENCE);
        }
        let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr_with_hz(10));
        let style = ProgressStyle::with_template("{bar:12} {msg}").expect("the template is valid");
        bar.set_style(style.progress_chars("=> "));
        Self::Bar(bar)
    }

    pub fn show(&mut self, progress: &Progress) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(floor_u64(progress.fraction.clamp(0.0, 1.0) * 1000.0));
                bar.set_message(text(progress));
            }
            Self::Plain(phase, due) => {
                if *phase != Some(progress.phase) {
                    (*phase, *due) = (Some(progress.phase), CADENCE);
                }
                // The looks are 100 ms apart: the end of a phase of whole seconds is worth a line too.
                if progress.elapsed + CADENCE / 20 >= *due {
                    *due += CADENCE;
                    notice(text(progress));
                }
            }
            Self::Silent => {}
        }
    }

    pub fn clear(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// `measured 3.0 s, 7.0 s left  98,123/s  p50 451 us  p99 1.21 ms  errors 0`.
fn text(progress: &Progress) -> String {
    let mut text = format!("{} {:.1} s", progress.phase, progress.elapsed.as_secs_f64());
    // What a phase of known length, or of a known number of messages, still takes at this speed.
    if progress.fraction > 0.0 {
        let left_s = progress.elapsed.as_secs_f64() * (1.0 / progress.fraction - 1.0);
        text.push_str(&format!(", {:.1} s left", left_s.max(0.0)));
    }
    match progress.rate_per_s {
        Some(rate_per_s) if matches!(progress.phase, Phase::WarmUp | Phase::Measured) => {
            let time = |ns: Option<u64>| ns.map_or_else(|| "n/a".to_string(), time_ns);
            text.push_str(&format!(
                "  {}/s  p50 {}  p99 {}",
                figure(rate_per_s),
                time(progress.response_p50_ns),
                time(progress.response_p99_ns)
            ));
        }
        _ => text.push_str(&format!("  {} connected", count(progress.connected))),
    }
    format!("{text}  errors {}", count(progress.errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_time_rate_percentiles_and_errors() {
        let mut progress = Progress {
            phase: Phase::Measured,
            fraction: 0.3,
            ok: 0,
            errors: 2,
            connected: 50,
            elapsed: Duration::from_secs(3),
            rate_per_s: Some(98_123.0),
            response_p50_ns: Some(451_000),
            response_p99_ns: None,
        };
        assert_eq!(
            text(&progress),
            "measured 3.0 s, 7.0 s left  98,123/s  p50 451 us  p99 n/a  errors 2"
        );
        (progress.phase, progress.fraction) = (Phase::Drain, 0.0);
        assert_eq!(text(&progress), "drain 3.0 s  50 connected  errors 2");
    }
}
