//! What the truth server does: known to both ends, so that expected times are computed, not measured.

use crate::units::{TWO_TO_THE_53, count_f64, floor_u64};
use echo_contract::splitmix;
use serde::{Deserialize, Serialize};

/// All that makes its answers differ from those of a perfect echo.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Behaviour {
    /// Length of every message; the server counts frames of this length and answers whole ones only.
    pub frame_bytes: u64,
    pub service: Service,
    pub freeze: Option<Freeze>,
    pub faults: Vec<Fault>,
    /// Numbers of accepted connections, from 0, that are reset at once.
    pub reset_at_accept: Vec<u64>,
}

impl Behaviour {
    /// A perfect echo.
    #[must_use]
    pub fn echo(frame_bytes: u64) -> Self {
        Self {
            frame_bytes,
            service: Service::None,
            freeze: None,
            faults: Vec::new(),
            reset_at_accept: Vec::new(),
        }
    }

    /// What befalls this frame.
    #[must_use]
    pub fn misdeed(&self, frame: u64) -> Option<Misdeed> {
        self.faults
            .iter()
            .find(|fault| fault.frame == frame)
            .map(|fault| fault.misdeed)
    }
}

/// Time that the server works on one frame, frames one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    None,
    Constant {
        ns: u64,
    },
    /// From the frame `first` on; those before it prove connections and are served at once.
    Exponential {
        mean_ns: u64,
        seed: u64,
        first: u64,
    },
}

impl Service {
    /// Of the frame with this number, from 0, over all connections in order of arrival. Depends on nothing else.
    #[must_use]
    pub fn of_frame(&self, frame: u64) -> u64 {
        match *self {
            Self::None => 0,
            Self::Constant { ns } => ns,
            Self::Exponential { first, .. } if frame < first => 0,
            Self::Exponential { mean_ns, seed, first } => {
                floor_u64(-open_unit(seed, frame + 1 - first).ln() * count_f64(mean_ns))
            }
        }
    }
}

/// The server does nothing from every multiple of the period on, by the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Freeze {
    pub length_ns: u64,
    pub period_ns: u64,
}

impl Freeze {
    /// Begin and end of the freeze that this moment lies in.
    #[must_use]
    pub fn at(&self, now_ns: u64) -> Option<(u64, u64)> {
        let begin = now_ns - now_ns % self.period_ns;
        (now_ns < begin + self.length_ns).then_some((begin, begin + self.length_ns))
    }
}

/// One frame that is not echoed as it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// Number of the frame, from 0, over all connections in order of arrival.
    pub frame: u64,
    pub misdeed: Misdeed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Misdeed {
    /// One byte of the echo is changed.
    Corrupt,
    /// Half the echo, then FIN.
    Truncate,
    /// The connection is reset.
    Reset,
    /// No echo of this frame, ever; the connection stays.
    Swallow,
}

/// A number in (0, 1]. The seed is spread first: those that are typed are small and next to each other.
fn open_unit(seed: u64, index: u64) -> f64 {
    let bits = splitmix::at(seed.wrapping_mul(0xd134_2543_de82_ef95), index);
    count_f64((bits >> 11) + 1) / TWO_TO_THE_53
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_service_times_have_their_mean_and_their_tail() {
        let service = Service::Exponential {
            mean_ns: 1_000_000,
            seed: 7,
            first: 1,
        };
        let drawn: Vec<u64> = (1..=100_000).map(|frame| service.of_frame(frame)).collect();
        let mean_ns = drawn.iter().sum::<u64>() / 100_000;
        assert!(mean_ns.abs_diff(1_000_000) < 15_000, "{mean_ns}");
        // P(S > 2 means) = e^-2 = 13.5 %.
        let beyond = drawn.iter().filter(|&&ns| ns > 2_000_000).count();
        assert!(beyond.abs_diff(13_534) < 500, "{beyond}");
        assert_eq!(
            drawn[..3],
            [303_684, 172_655, 1_277_351],
            "a seed gives the same times for ever"
        );
    }

    #[test]
    fn a_freeze_begins_at_every_multiple_of_its_period() {
        let freeze = Freeze {
            length_ns: 100,
            period_ns: 1000,
        };
        assert_eq!(freeze.at(2_000), Some((2_000, 2_100)));
        assert_eq!(freeze.at(2_099), Some((2_000, 2_100)));
        assert_eq!(freeze.at(2_100), None);
        assert_eq!(freeze.at(2_999), None);
    }
}
