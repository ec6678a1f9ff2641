//! What std's sockets cannot do, as far as a test needs it: no raw packets.

use echo_contract::conformance::Means;
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

pub(crate) struct SocketOptions;

impl Means for SocketOptions {
    fn reset_on_close(&self, client: &TcpStream) -> io::Result<()> {
        let at_once = linger {
            l_onoff: 1,
            l_linger: 0,
        };
        Ok(setsockopt(client, sockopt::Linger, &at_once)?)
    }

    fn limit_send_buffer(&self, client: &TcpStream, bytes: usize) -> io::Result<()> {
        Ok(setsockopt(client, sockopt::SndBuf, &bytes)?)
    }

    fn limit_receive_buffer(&self, client: &TcpStream, bytes: usize) -> io::Result<()> {
        Ok(setsockopt(client, sockopt::RcvBuf, &bytes)?)
    }

    fn flood(&self, _to: SocketAddr, _per_second: u64, _time: Duration) -> io::Result<u64> {
        Err(io::Error::other("no raw packets here"))
    }
}
