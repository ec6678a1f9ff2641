//! Rule 1: every byte comes back, in order, none extra, at any split of reads and writes.

use super::client::Client;
use super::fault::{Fault, PASSED, Verdict};
use super::server::Server;
use super::{Check, Setting};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "an empty connection gets a FIN and no byte",
        setting: Setting::Sockets,
        make: |server| on_one_connection(server, |_| Ok(())),
    },
    Check {
        name: "one byte comes back",
        setting: Setting::Sockets,
        make: |server| on_one_connection(server, |client| client.ping(1)),
    },
    Check {
        name: "1,000 messages of 64 B come back in turn",
        setting: Setting::Sockets,
        make: |server| on_one_connection(server, |client| (0..1000).try_for_each(|_| client.ping(64))),
    },
    Check {
        name: "100 pipelined bursts of small messages come back in order",
        setting: Setting::Sockets,
        make: |server| on_one_connection(server, |client| (0..100).try_for_each(|_| burst(client))),
    },
    Check {
        name: "messages of 64 KiB come back whole",
        setting: Setting::Sockets,
        make: |server| {
            on_one_connection(server, |client| {
                (0..32).try_for_each(|_| client.stream_through(64 * KIB, 64 * KIB))
            })
        },
    },
    Check {
        name: "1 MiB comes back however its writes are cut",
        setting: Setting::Sockets,
        make: |server| {
            on_one_connection(server, |client| {
                [(64, 16), (256, 4 * KIB), (704, 64 * KIB)]
                    .into_iter()
                    .try_for_each(|(kib, cut)| client.stream_through(kib * KIB, cut))
            })
        },
    },
    Check {
        name: "16 MiB come back in one stream",
        setting: Setting::Sockets,
        make: |server| on_one_connection(server, |client| client.stream_through(16 * MIB, 64 * KIB)),
    },
    Check {
        name: "clients served at the same time each get their own bytes",
        setting: Setting::Sockets,
        make: clients_get_their_own_bytes,
    },
    Check {
        name: "200 clients one after the other each start from nothing",
        setting: Setting::Sockets,
        make: |server| {
            (0..200)
                .try_for_each(|_| on_one_connection(server, |client| client.ping(100)).map(drop))
                .and(PASSED)
        },
    },
    Check {
        name: "bytes behind an urgent one come back without another segment",
        // While it works on the first message, the other two arrive, so that it finds the mark between them.
        setting: Setting::flags(&["--work", "20ms"]),
        make: bytes_behind_an_urgent_one,
    },
];

/// Runs the body on a new connection, then ends it in order: nothing extra may come.
fn on_one_connection(server: &mut Server, body: impl FnOnce(&mut Client) -> Result<(), Fault>) -> Verdict {
    let mut client = server.connect()?;
    body(&mut client)?;
    client.finish()?;
    PASSED
}

/// Ten small messages leave before the first answer is read.
fn burst(client: &mut Client) -> Result<(), Fault> {
    let sizes = [1, 64, 3, 17, 64, 2, 40, 9, 64, 33];
    sizes.iter().try_for_each(|&size| client.sender.send(size))?;
    client.receiver.expect(sizes.iter().sum::<usize>() as u64)
}

/// In each round all clients have sent before any of them reads, so that the server holds all of them at once.
fn clients_get_their_own_bytes(server: &mut Server) -> Verdict {
    let mut clients = server.connect_all(server.profile.clients_at_once)?;
    for size in [1, 700, 64, 4096] {
        for client in &mut clients {
            client.sender.send(size)?;
        }
        for client in clients.iter_mut().rev() {
            client.receiver.expect(size as u64)?;
        }
    }
    clients.iter_mut().try_for_each(Client::finish)?;
    Ok(Some(format!("{} clients at once", clients.len())))
}

/// A read stops before an urgent byte, so it gets less than it asked for though more is there.
fn bytes_behind_an_urgent_one(server: &mut Server) -> Verdict {
    const ROUNDS: usize = 5;
    let mut client = server.connect()?;
    for round in 1..=ROUNDS {
        client.sender.send(64)?;
        client
            .sender
            .send_by(64, |stream, bytes| server.send_urgent(stream, bytes))?;
        client.sender.send(64)?;
        let came = client.receiver.expect(3 * 64);
        came.map_err(|fault| fault.when(&format!("urgent byte {round}")))?;
    }
    client.finish()?;
    PASSED
}
