//! Rule 2: after the client's FIN the server sends all it still owes, then FIN; never a reset.

use super::client::{Client, push_all};
use super::fault::{Fault, PASSED, Verdict};
use super::payload::Dice;
use super::server::Server;
use super::{Check, Setting};
use std::time::Duration;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "1 B and a FIN bring 1 B and a FIN",
        setting: Setting::Sockets,
        make: |server| send_and_finish(server, 1),
    },
    Check {
        name: "64 KiB and a FIN, read only after both, bring 64 KiB and a FIN",
        setting: Setting::Sockets,
        make: |server| send_and_finish(server, 64 * KIB),
    },
    Check {
        name: "64 MiB and a FIN, read all the while, bring 64 MiB and a FIN",
        setting: Setting::Sockets,
        make: finish_while_reading,
    },
    Check {
        name: "a FIN behind full buffers loses nothing of what is owed",
        setting: Setting::Sockets,
        make: finish_behind_full_buffers,
    },
    Check {
        name: "the server says FIN only after the client did",
        setting: Setting::Sockets,
        make: server_does_not_end_first,
    },
    Check {
        name: "a FIN on one connection does not end another",
        setting: Setting::Sockets,
        make: fin_ends_one_connection,
    },
    Check {
        name: "1,000 connections half-closed at random moments each get the rest and a FIN",
        setting: Setting::Sockets,
        make: random_half_closes,
    },
];

/// All is sent and the FIN said before the first read. `length` must fit the kernel's buffers.
fn send_and_finish(server: &mut Server, length: usize) -> Verdict {
    let mut client = server.connect()?;
    client.sender.send(length)?;
    client.finish()?;
    PASSED
}

fn finish_while_reading(server: &mut Server) -> Verdict {
    let mut client = server.connect()?;
    client.stream_through_and_finish(64 * MIB)?;
    PASSED
}

/// The client fills every buffer on the way without reading, so the server owes much when the FIN comes.
fn finish_behind_full_buffers(server: &mut Server) -> Verdict {
    const MOST_BYTES: u64 = 64 * MIB as u64;
    let mut clients = [server.connect()?];
    push_all(
        &mut clients,
        MOST_BYTES,
        Duration::from_millis(300),
        server.profile.patience,
    )?;
    let [mut client] = clients;
    client.finish()?;
    Ok(Some(format!("{} KiB were owed", client.sender.sent / KIB as u64)))
}

fn server_does_not_end_first(server: &mut Server) -> Verdict {
    const QUIET: Duration = Duration::from_millis(300);
    let mut client = server.connect()?;
    client.receiver.expect_silence(QUIET)?;
    client.ping(64)?;
    client.receiver.expect_silence(QUIET)?;
    client.ping(64)?;
    client.finish()?;
    PASSED
}

fn fin_ends_one_connection(server: &mut Server) -> Verdict {
    if server.profile.clients_at_once < 2 {
        return Err(Fault::NotChecked("the server takes one client at a time".into()));
    }
    let (mut leaving, mut staying) = (server.connect()?, server.connect()?);
    staying.ping(64)?;
    leaving.ping(64)?;
    leaving.finish()?;
    drop(leaving);
    staying.receiver.expect_silence(Duration::from_millis(100))?;
    staying.ping(64)?;
    staying.finish()?;
    PASSED
}

/// Clients that are connected at the same time send, read and say FIN in the order that the dice choose. The seed is fixed,
/// so each server meets the same moments.
fn random_half_closes(server: &mut Server) -> Verdict {
    const CONNECTIONS: usize = 1000;
    let mut dice = Dice::new(CONNECTIONS as u64);
    let mut left = CONNECTIONS;
    let mut owed_at_fin = 0;
    while left > 0 {
        let mut clients = server.connect_all(left.min(server.profile.clients_at_once))?;
        left -= clients.len();
        let mut finishing = Vec::new();
        while !(clients.is_empty() && finishing.is_empty()) {
            let chosen = dice.between(0, clients.len() + finishing.len() - 1);
            if chosen >= clients.len() {
                finish_a_little(&mut finishing, chosen - clients.len(), &mut dice)?;
            } else if says_fin(&mut clients[chosen], &mut dice)? {
                let client = clients.swap_remove(chosen);
                owed_at_fin += usize::from(client.sender.sent > client.receiver.received);
                finishing.push(client);
            }
        }
    }
    Ok(Some(format!("{owed_at_fin} of them with bytes owed")))
}

/// One move of a client that may still send; whether that was its FIN.
fn says_fin(client: &mut Client, dice: &mut Dice) -> Result<bool, Fault> {
    const MOST_ON_THE_WAY: u64 = 32 * KIB as u64; // fits the kernel's buffers, so no send waits for a read
    let on_the_way = client.sender.sent - client.receiver.received;
    match dice.between(0, 5) {
        0 => client.sender.say_fin().map(|()| true),
        1 | 2 if on_the_way > 0 => read_some(client, dice).map(|()| false),
        _ if on_the_way < MOST_ON_THE_WAY => client.sender.send(dice.between(1, 8 * KIB)).map(|()| false),
        _ => Ok(false),
    }
}

/// One move of a client that has said FIN: it reads some of what it is owed, or all of it and the server's FIN.
fn finish_a_little(finishing: &mut Vec<Client>, chosen: usize, dice: &mut Dice) -> Result<(), Fault> {
    let client = &mut finishing[chosen];
    let total = client.sender.sent;
    if dice.between(0, 1) == 0 && total > client.receiver.received {
        return read_some(client, dice);
    }
    client.receiver.expect_rest_and_fin(total)?;
    finishing.swap_remove(chosen);
    Ok(())
}

/// Reads all that is on the way, or a part of it.
fn read_some(client: &mut Client, dice: &mut Dice) -> Result<(), Fault> {
    let on_the_way = client.sender.sent - client.receiver.received;
    let part = dice.between(1, usize::try_from(on_the_way).unwrap_or(usize::MAX)) as u64;
    client
        .receiver
        .expect(if dice.between(0, 1) == 0 { on_the_way } else { part })
}
