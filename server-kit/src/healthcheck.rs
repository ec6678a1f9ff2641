//! `--healthcheck`: a real echo from a running server, for container engines and scripts.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

const TIMEOUT: Duration = Duration::from_secs(2);
const MESSAGE: &[u8] = b"are you there?\n";

/// Sends a line to the server that listens on `address` and wants exactly this line back, then a FIN.
pub(crate) fn check(address: SocketAddr) -> io::Result<()> {
    let address = reachable(address);
    let explain = |what: &str, error: io::Error| io::Error::new(error.kind(), format!("{address}: {what}: {error}"));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT).map_err(|error| explain("connect", error))?;
    let mut echo = Vec::new();
    let mut exchange = || {
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.write_all(MESSAGE)?;
        stream.shutdown(Shutdown::Write)?;
        (&stream).take(MESSAGE.len() as u64 + 1).read_to_end(&mut echo)
    };
    exchange().map_err(|error| explain("no echo", error))?;
    if echo != MESSAGE {
        return Err(io::Error::other(format!(
            "{address}: sent {} bytes and got {} back that are not the same",
            MESSAGE.len(),
            echo.len()
        )));
    }
    Ok(())
}

/// A server bound to all addresses is asked over loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}
