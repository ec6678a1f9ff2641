//! The notations of values: times, counts, sizes, addresses, CPUs. Each refusal quotes what was typed and says what to write.

use crate::record::Plan;
use crate::report::{hdr, series};
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// A message length or a range of them, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub min_bytes: u64,
    pub max_bytes: u64,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.min_bytes == self.max_bytes {
            self.min_bytes.fmt(f)
        } else {
            write!(f, "{}..{}", self.min_bytes, self.max_bytes)
        }
    }
}

/// Source addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<Ipv4Addr>);

/// `--pin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pin {
    Auto,
    Off,
    /// Lists of CPUs.
    Cpus {
        server: Vec<usize>,
        client: Vec<usize>,
    },
}

impl std::fmt::Display for Pin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |cpus: &[usize]| cpus.iter().map(ToString::to_string).collect::<Vec<_>>().join("+");
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Off => f.write_str("off"),
            Self::Cpus { server, client } => write!(f, "server={},client={}", list(server), list(client)),
        }
    }
}

impl FromStr for Pin {
    type Err = String;

    /// `auto`, `off`, `server=0,client=1`, `server=0-1,client=2+5`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => return Ok(Self::Auto),
            "off" => return Ok(Self::Off),
            _ => {}
        }
        let wrong = || format!("'{text}' is neither auto, off, nor like server=0,client=1 or server=0-1,client=2+5");
        let (mut server, mut client) = (None, None);
        for part in text.split(',') {
            let (side, cpus) = part.split_once('=').ok_or_else(wrong)?;
            let side = match side {
                "server" => &mut server,
                "client" => &mut client,
                _ => return Err(wrong()),
            };
            *side = Some(cpu_list(cpus).ok_or_else(wrong)?);
        }
        let (server, client) = server.zip(client).ok_or_else(wrong)?;
        Ok(Self::Cpus { server, client })
    }
}

/// `0`, `0-3`, `0-1+5`.
fn cpu_list(text: &str) -> Option<Vec<usize>> {
    let mut cpus = Vec::new();
    for part in text.split('+') {
        match part.split_once('-') {
            Some((from, to)) => {
                let (from, to) = (from.parse::<usize>().ok()?, to.parse::<usize>().ok()?);
                if from > to || to >= 4096 {
                    return None;
                }
                cpus.extend(from..=to);
            }
            None => cpus.push(part.parse().ok().filter(|&cpu| cpu < 4096)?),
        }
    }
    Some(cpus)
}

/// `10s`, `500ms`, `2m`. Longer than a day is a typing mistake.
pub fn duration(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_secs(24 * 3600);
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    if text.parse::<f64>().is_ok() && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("'{text}' has no unit: write {text}s or {text}ms"));
    }
    let duration =
        humantime::parse_duration(text).map_err(|_| format!("'{text}' is not a time like 10s, 500ms or 2m"))?;
    if duration > LONGEST {
        return Err(format!("'{text}' is more than 24h"));
    }
    if !duration.is_zero() && duration < Duration::from_millis(1) {
        return Err(format!("'{text}' is less than 1ms"));
    }
    Ok(duration)
}

/// `2026-01-31T10:00:00Z` or Unix seconds, `1769853600` or `1769853600.5`.
pub(super) fn time_of_day(text: &str) -> Result<jiff::Timestamp, String> {
    let wrong =
        || format!("'{text}' is neither a time like 2026-01-31T10:00:00Z nor Unix seconds, as `date +%s` prints them");
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = seconds.parse().map_err(|_| wrong())?;
    let nanoseconds = match fraction.len() {
        0 if text.ends_with('.') => return Err(wrong()),
        0..=9 if fraction.bytes().all(|digit| digit.is_ascii_digit()) => format!("{fraction:0<9}").parse(),
        _ => return Err(wrong()),
    };
    jiff::Timestamp::new(seconds, nanoseconds.map_err(|_| wrong())?).map_err(|_| wrong())
}

/// A path that ends in `.hgrm` or `.hlog`.
pub fn histogram_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    hdr::Format::of(&path)
        .map(|_| path)
        .ok_or_else(|| format!("'{text}' ends in neither .hgrm (response times, as text) nor .hlog (all histograms)"))
}

/// A file for the windows of a run, whose name says in which format.
pub fn series_file(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    series::Format::of(&path)
        .map(|_| path)
        .ok_or_else(|| format!("'{text}' ends in neither .ndjson (a JSON object a line) nor .csv"))
}

/// `1000`, `10k`, `2M`; at least 1.
pub fn count(text: &str) -> Result<u64, String> {
    let wrong = || format!("'{text}' is not a whole number of at least 1, like 1000, 10k or 2M");
    let (digits, factor) = match text.strip_suffix(['k', 'K']) {
        Some(digits) => (digits, 1_000),
        None => match text.strip_suffix('M') {
            Some(digits) => (digits, 1_000_000),
            None => (text, 1),
        },
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number
        .checked_mul(factor)
        .filter(|&number| number > 0)
        .ok_or_else(wrong)
}

/// `1%`, `0.5 %`; 0 to 100, told in percent.
pub fn share_in_percent(text: &str) -> Result<f64, String> {
    let wrong = || format!("'{text}' is not a share like 1% or 0.1%, from 0% to 100%");
    let number = text.strip_suffix('%').map(str::trim_end);
    let number = number.or((text == "0").then_some("0")).ok_or_else(wrong)?;
    let percent: f64 = number.parse().map_err(|_| wrong())?;
    (0.0..=100.0).contains(&percent).then_some(percent).ok_or_else(wrong)
}

/// A whole number that every reader of JSON keeps.
pub fn seed(text: &str) -> Result<u64, String> {
    let seed = text
        .parse()
        .map_err(|_| format!("'{text}' is not a whole number from 0 to {} (2^53)", Plan::MOST_SEED))?;
    if seed > Plan::MOST_SEED {
        return Err(format!(
            "many readers of JSON lose digits above {} (2^53), and with them the seed: give a smaller number",
            Plan::MOST_SEED
        ));
    }
    Ok(seed)
}

/// `64`, `1KiB`, `64..1024`.
pub fn size(text: &str) -> Result<Size, String> {
    const LARGEST: u64 = 1 << 30;
    let wrong = || format!("'{text}' is not a length of at least 1 byte, like 64, 1KiB or 64..1024");
    let one = |text: &str| -> Result<u64, String> {
        let size = text.trim().parse::<bytesize::ByteSize>().map_err(|_| wrong())?.as_u64();
        match size {
            0 => Err(wrong()),
            1..=LARGEST => Ok(size),
            _ => Err(format!("'{text}' is more than 1GiB")),
        }
    };
    match text.split_once("..") {
        None => one(text).map(|bytes| Size {
            min_bytes: bytes,
            max_bytes: bytes,
        }),
        Some((min, max)) => {
            let (min_bytes, max_bytes) = (one(min)?, one(max)?);
            if min_bytes > max_bytes {
                return Err(format!("'{text}' ends before it begins: write {max}..{min}"));
            }
            Ok(Size { min_bytes, max_bytes })
        }
    }
}

/// `127.0.0.2-127.0.0.9`, `127.0.0.2,127.0.0.5`.
pub(super) fn addresses(text: &str) -> Result<Addresses, String> {
    let one = |text: &str| -> Result<u32, String> {
        text.trim()
            .parse::<Ipv4Addr>()
            .map(u32::from)
            .map_err(|_| format!("'{text}' is not an IPv4 address; write 127.0.0.2-127.0.0.9 or a list"))
    };
    let mut addresses = Vec::new();
    for part in text.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (one(from)?, one(to)?);
        if from > to || to - from > 255 {
            return Err(format!(
                "'{part}' is not a range of at most 256 addresses, lowest first"
            ));
        }
        addresses.extend((from..=to).map(Ipv4Addr::from));
    }
    Ok(Addresses(addresses))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_need_a_unit() {
        assert_eq!(duration("1500ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        assert!(duration("10").unwrap_err().contains("write 10s"));
        assert!(
            ["inf", "-1"]
                .iter()
                .all(|text| !duration(text).unwrap_err().contains("no unit"))
        );
        assert!(
            ["", "s", "-1s", "-1", "inf", "10 parsecs", "25h", "1us"]
                .into_iter()
                .all(|text| duration(text).is_err())
        );
    }

    #[test]
    fn a_start_is_rfc_3339_or_unix_seconds() {
        let at = |text| time_of_day(text).map(|at| at.to_string());
        for text in ["2026-01-31T10:00:00.5Z", "2026-01-31T11:00:00.5+01:00", "1769853600.5"] {
            assert_eq!(at(text).as_deref(), Ok("2026-01-31T10:00:00.5Z"), "{text}");
        }
        for text in [
            "",
            "soon",
            "10:00",
            "1769853600.",
            ".5",
            "1769853600.x",
            "99999999999999",
            "1e9",
        ] {
            assert!(at(text).unwrap_err().contains("date +%s"), "{text}");
        }
    }

    #[test]
    fn a_share_of_failures_is_in_percent_and_says_so() {
        for (text, percent) in [("1%", 1.0), ("0.1%", 0.1), ("0.5 %", 0.5), ("0", 0.0), ("100%", 100.0)] {
            assert_eq!(share_in_percent(text), Ok(percent), "{text}");
        }
        for wrong in ["1", "0.01", "-1%", "101%", "NaN%", "%", "x%"] {
            let text = share_in_percent(wrong).unwrap_err();
            assert!(text.contains(wrong) && text.contains("like 1%"), "{text}");
        }
    }

    #[test]
    fn a_seed_that_readers_of_json_would_lose_is_refused() {
        assert_eq!(seed("9007199254740992"), Ok(1 << 53));
        for wrong in ["9007199254740993", "18446744073709551615"] {
            let text = seed(wrong).unwrap_err();
            assert!(
                text.contains("above 9007199254740992 (2^53)") && text.contains("smaller"),
                "{text}"
            );
        }
        for wrong in ["18446744073709551616", "-1", "", "x"] {
            assert!(seed(wrong).unwrap_err().contains("is not a whole number"), "{wrong}");
        }
    }

    #[test]
    fn counts_take_si_suffixes() {
        assert_eq!(
            [count("7"), count("10k"), count("2M")],
            [Ok(7), Ok(10_000), Ok(2_000_000)]
        );
        assert!(
            ["0", "", "k", "-1", "1.5k", "1G", "99999999999999999999k"]
                .into_iter()
                .all(|text| count(text).is_err())
        );
    }

    #[test]
    fn sizes_are_one_length_or_a_range() {
        assert_eq!(
            size("1KiB"),
            Ok(Size {
                min_bytes: 1024,
                max_bytes: 1024
            })
        );
        assert_eq!(
            size("64..1024"),
            Ok(Size {
                min_bytes: 64,
                max_bytes: 1024
            })
        );
        assert!(size("1024..64").unwrap_err().contains("write 64..1024"));
        assert!(
            ["0", "", "x", "..", "64..", "2GiB", "0..5"]
                .into_iter()
                .all(|text| size(text).is_err())
        );
    }

    #[test]
    fn source_addresses_are_ranges_and_lists() {
        let Addresses(range) = addresses("127.0.0.2-127.0.0.4,127.0.0.9").unwrap();
        assert_eq!(
            range.iter().map(|address| address.octets()[3]).collect::<Vec<_>>(),
            [2, 3, 4, 9]
        );
        assert!(
            ["", "127.0.0.9-127.0.0.2", "10.0.0.0-10.255.0.0", "::1"]
                .into_iter()
                .all(|t| addresses(t).is_err())
        );
    }

    #[test]
    fn pins_name_both_sides() {
        assert_eq!(
            "server=0-1,client=2+5".parse(),
            Ok(Pin::Cpus {
                server: vec![0, 1],
                client: vec![2, 5]
            })
        );
        assert_eq!(
            "server=0-1,client=2+5".parse::<Pin>().unwrap().to_string(),
            "server=0+1,client=2+5"
        );
        assert!(
            [
                "on",
                "server=0",
                "client=1",
                "server=x,client=1",
                "server=3-1,client=0",
                "server=0;client=1"
            ]
            .into_iter()
            .all(|text| text.parse::<Pin>().is_err())
        );
    }
}
