//! Rule 6: an open echo service is abusable, so it binds 127.0.0.1 unless told otherwise, and then it warns.

use super::fault::{PASSED, Verdict, ensure};
use super::server::Server;
use super::{Check, Setting, Signal};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};

pub(super) const CHECKS: &[Check] = &[
    Check {
        name: "without --bind it listens on 127.0.0.1 and on nothing else",
        setting: Setting::PROCESS,
        make: listens_on_loopback_only,
    },
    Check {
        name: "without --bind there is no warning",
        setting: Setting::PROCESS,
        make: |server| {
            let warning = warning_on_stderr(server)?;
            ensure(warning.is_none(), || {
                format!("a warning that nobody needs: {}", warning.unwrap_or_default())
            })?;
            PASSED
        },
    },
    Check {
        name: "--bind 0.0.0.0 is obeyed and warned of on stderr",
        setting: Setting::flags(&["--bind", "0.0.0.0"]),
        make: wide_bind_is_warned_of,
    },
];

/// 127.0.0.2 is this machine too: who listens on every address answers there.
fn listens_on_loopback_only(server: &mut Server) -> Verdict {
    let said = server.ready()?.address;
    ensure(
        server.address.ip() == Ipv4Addr::LOCALHOST && !said.starts_with("0.0.0.0"),
        || format!("READY's address is {said}, expected 127.0.0.1:PORT"),
    )?;
    let elsewhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), server.address.port());
    ensure(
        TcpStream::connect_timeout(&elsewhere, server.profile.patience).is_err(),
        || format!("READY says {said}, but {elsewhere} takes connections too"),
    )?;
    PASSED
}

fn wide_bind_is_warned_of(server: &mut Server) -> Verdict {
    let said = server.ready()?.address;
    ensure(said.starts_with("0.0.0.0:"), || {
        format!("READY's address is {said}, expected 0.0.0.0:PORT")
    })?;
    let mut client = server.connect()?;
    client.ping(64)?;
    client.finish()?;
    let warning = warning_on_stderr(server)?;
    ensure(warning.is_some(), || "no line with `warning` on stderr".into())?;
    Ok(warning)
}

/// Stops the server and looks for a line that warns.
fn warning_on_stderr(server: &mut Server) -> Result<Option<String>, super::Fault> {
    let patience = server.profile.patience;
    server.signal(Signal::Terminate)?;
    let exit = server.wait(patience)?;
    Ok(exit
        .stderr
        .lines()
        .find(|line| line.to_lowercase().contains("warn"))
        .map(str::to_owned))
}
