//! What kind of server it is that does not simply echo: asked on connections of its own, so that each answer is proof and not a
//! guess.

use super::connect::connect;
use super::exchange::{Answer, Exchange};
use super::{Probe, Probes};
use crate::failure::{Exit, Failure};
use crate::workload::opening::Opening;
use std::net::SocketAddr;
use std::time::Duration;

/// How long who speaks first, or by line, may take.
const SPEAK: Duration = Duration::from_millis(250);
/// Between two messages for a server that answers several at once: it must read them one by one.
const BETWEEN: Duration = Duration::from_millis(40);
/// Messages after which it should have answered.
const MOST_MESSAGES: u32 = 8;
/// Longer ones are not sent again and again.
const LONGEST: usize = 64 * 1024;
/// Bytes of a server that a message quotes.
const QUOTED: usize = 24;

/// A kind of server that is no plain echo for this workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// It sends this before it was sent anything.
    Greets(Vec<u8>),
    AnswersMore,
    /// The first bytes that are not those that were sent, and what was sent there.
    ChangesBytes {
        offset: usize,
        came: Vec<u8>,
        sent: Vec<u8>,
    },
    /// Fewer bytes came back than were sent, then the end of the connection.
    Truncates {
        received: usize,
        sent: usize,
    },
    ClosesAfterOne,
    ByLine,
    /// It answers so many messages at once.
    Every(u32),
    /// It answers after so many reads, whatever is in them.
    EveryRead(u32),
}

impl Kind {
    /// What the user is told: exit code 2 where a flag makes the server measurable.
    pub(super) fn failure(&self, address: SocketAddr) -> Failure {
        let corrupted = |text: String| Failure::new(Exit::Corrupted, format!("{address} {text}: it is no echo server"));
        match self {
            Self::Greets(greeting) => corrupted(format!("speaks first (\"{}\")", quoted(greeting))),
            Self::AnswersMore => corrupted("answers more bytes than it got".into()),
            Self::ChangesBytes { offset, came, sent } => corrupted(format!(
                "changes bytes: at offset {offset} came \"{}\", where \"{}\" was sent",
                quoted(came),
                quoted(sent)
            )),
            Self::Truncates { received, sent } => {
                corrupted(format!("closed the connection after {received} of {sent} bytes"))
            }
            Self::ClosesAfterOne => Failure::usage(format!(
                "{address} closes each connection after one answer: use --churn, which opens a connection for every message"
            )),
            Self::ByLine => Failure::usage(format!(
                "{address} answers whole lines only: use --payload lines, or a file that ends in a newline"
            )),
            Self::Every(messages) => Failure::usage(format!(
                "{address} answers only every {messages} messages, all at once: use --pipeline {messages}"
            )),
            Self::EveryRead(reads) => Failure::unreachable(format!(
                "{address} answers after every {reads} reads, whatever is in them: what one read takes is chance on TCP, so no \
                 client can count on an answer"
            )),
        }
    }
}

fn quoted(bytes: &[u8]) -> String {
    let dots = if bytes.len() > QUOTED { "..." } else { "" };
    format!("{}{dots}", bytes[..bytes.len().min(QUOTED)].escape_ascii())
}

/// What a server is that answered something else.
pub(super) fn of_wrong(probe: &Probe, address: SocketAddr, exchange: &Exchange<'_>) -> Kind {
    let reply = &exchange.received;
    let sent = exchange.expected(0, reply.len());
    // A greeting may leave room for the beginning of the echo only.
    let begins_at = (1..reply.len()).find(|&from| sent.starts_with(&reply[from..]));
    match begins_at {
        Some(from) if reply.len() - from > 1 => return Kind::Greets(reply[..from].to_vec()),
        _ => {}
    }
    if let Some(greeting) = greeting(probe, address) {
        return Kind::Greets(greeting);
    }
    let offset = exchange.right();
    Kind::ChangesBytes {
        offset,
        came: reply[offset..].iter().take(QUOTED).copied().collect(),
        sent: exchange.expected(offset, QUOTED.min(exchange.owed() - offset)),
    }
}

/// What the server says to who says nothing.
fn greeting(probe: &Probe, address: SocketAddr) -> Option<Vec<u8>> {
    let stream = connect(address, probe.source(), SPEAK).ok()?;
    let mut exchange = Exchange::new(stream, &probe.opening.bytes).ok()?;
    match exchange.settle(SPEAK) {
        Answer::More => Some(exchange.received),
        _ => None,
    }
}

/// What a server is that answers nothing, as far as more can make it answer.
pub(super) fn of_silent(probe: &Probe, address: SocketAddr, probes: &mut Probes) -> Option<Kind> {
    if !probe.opening.is_lines && echoes_a_line(probe, address, probes) {
        return Some(Kind::ByLine);
    }
    let rounds = rounds_for_an_answer(probe, address, probes)?;
    let at_once = on_new_connection(probe, address, probes, &probe.opening, |exchange| {
        matches!(exchange.send(rounds as usize, SPEAK), Answer::Whole)
    });
    Some(if at_once.unwrap_or(false) {
        Kind::Every(rounds * probe.opening.messages)
    } else {
        Kind::EveryRead(rounds)
    })
}

fn echoes_a_line(probe: &Probe, address: SocketAddr, probes: &mut Probes) -> bool {
    let line = super::nonce();
    let echoes = on_new_connection(probe, address, probes, &line, |exchange| {
        matches!(exchange.send(1, SPEAK), Answer::Whole)
    });
    echoes.unwrap_or(false)
}

/// How many messages it takes, one after the other, until all come back; none where that is one, or too many.
fn rounds_for_an_answer(probe: &Probe, address: SocketAddr, probes: &mut Probes) -> Option<u32> {
    if probe.opening.bytes.len() > LONGEST {
        return None;
    }
    on_new_connection(probe, address, probes, &probe.opening, |exchange| {
        let answered = (1..=MOST_MESSAGES).find(|_| !matches!(exchange.send(1, BETWEEN), Answer::Late))?;
        let is_whole = matches!(exchange.settle(Duration::ZERO), Answer::Whole) && exchange.right() == exchange.owed();
        (answered > 1 && is_whole).then_some(answered)
    })?
}

fn on_new_connection<T>(
    probe: &Probe,
    address: SocketAddr,
    probes: &mut Probes,
    opening: &Opening,
    ask: impl FnOnce(&mut Exchange<'_>) -> T,
) -> Option<T> {
    let stream = connect(address, probe.source(), SPEAK).ok()?;
    let mut exchange = Exchange::new(stream, &opening.bytes).ok()?;
    let told = ask(&mut exchange);
    probes.connections += 1;
    probes.bytes += exchange.sent() as u64;
    Some(told)
}
