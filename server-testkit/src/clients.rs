//! Clients of a server under test.

use crate::RunningServer;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a client waits for a byte before the server counts as hung.
const PATIENCE: Duration = Duration::from_secs(30);

impl RunningServer {
    /// A client that has sent nothing.
    ///
    /// # Panics
    /// When the server does not listen.
    #[must_use]
    pub fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.address()).expect("the server listens");
        client.set_read_timeout(Some(PATIENCE)).expect("a timeout above zero");
        client
    }

    /// A client that has been echoed to, so it is accepted and has its process, thread or task; none when the server answered
    /// with a FIN.
    ///
    /// # Panics
    /// When it was reset, or got something else.
    #[must_use]
    pub fn try_served(&self) -> Option<TcpStream> {
        let mut client = self.connect();
        ping(&mut client).then_some(client)
    }

    /// As [`RunningServer::try_served`], where it must be served.
    ///
    /// # Panics
    /// When it is not.
    #[must_use]
    pub fn served(&self) -> TcpStream {
        self.try_served().expect("the server serves")
    }
}

/// Whether the client gets its echo; else it must get a FIN.
///
/// # Panics
/// When it is reset, or gets something else.
pub fn ping(client: &mut TcpStream) -> bool {
    let mut echo = [0; 5];
    client.write_all(b"hello").expect("an open connection");
    let count = client.read(&mut echo).expect("an echo or a FIN");
    if count > 0 {
        client.read_exact(&mut echo[count..]).expect("a whole echo");
        assert_eq!(&echo, b"hello");
    }
    count > 0
}
