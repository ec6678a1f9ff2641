//! Accepted clients on their way from one process to others (SCM_RIGHTS): one queue, of which any receiver takes the next.

use nix::sys::socket::{
    AddressFamily, ControlMessage, ControlMessageOwned, MsgFlags, SockFlag, SockType, recvmsg, sendmsg, socketpair,
};
use std::io::{self, IoSlice, IoSliceMut};
use std::net::TcpStream;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// A queue: its sending and its receiving end. Whole messages, not a stream: then the kernel wakes one receiver for each.
///
/// # Errors
/// When there is no room for two descriptors.
pub fn queue() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC,
    )?)
}

/// Sends the client's descriptor; the caller then drops its own. The kernel keeps the client open on the way.
///
/// # Errors
/// When the kernel has no room for it.
pub fn pass(queue: &OwnedFd, client: &TcpStream) -> io::Result<()> {
    let descriptors = [client.as_raw_fd()];
    let rights = [ControlMessage::ScmRights(&descriptors)];
    // A descriptor travels with at least one byte.
    let byte = [IoSlice::new(&[1])];
    sendmsg::<()>(queue.as_raw_fd(), &byte, &rights, MsgFlags::MSG_NOSIGNAL, None)?;
    Ok(())
}

/// Waits for a client.
///
/// # Errors
/// EINTR when a signal came, end of file when no more clients can come.
pub fn receive(queue: &OwnedFd) -> io::Result<TcpStream> {
    receive_with(queue, MsgFlags::empty())
}

/// A client that is there already.
///
/// # Errors
/// EAGAIN when none is.
pub fn receive_at_once(queue: &OwnedFd) -> io::Result<TcpStream> {
    receive_with(queue, MsgFlags::MSG_DONTWAIT)
}

fn receive_with(queue: &OwnedFd, flags: MsgFlags) -> io::Result<TcpStream> {
    let mut byte = [0];
    let mut space = nix::cmsg_space!(RawFd);
    let mut buffers = [IoSliceMut::new(&mut byte)];
    let flags = flags | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = recvmsg::<()>(queue.as_raw_fd(), &mut buffers, Some(&mut space), flags)?;
    if message.bytes == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    for part in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = part
            && let [descriptor] = descriptors[..]
        {
            // SAFETY: the kernel has just made this descriptor for us; nothing else owns it.
            let descriptor = unsafe { OwnedFd::from_raw_fd(descriptor) };
            return Ok(descriptor.into());
        }
    }
    // The descriptor was lost on its way for want of room in this process's table.
    Err(io::Error::from_raw_os_error(libc::EMFILE))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpListener;

    #[test]
    fn a_client_that_was_passed_is_the_same_client() {
        let (sender, receiver) = queue().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        pass(&sender, &listener.accept().unwrap().0).unwrap();
        let mut accepted = receive(&receiver).unwrap();
        client.write_all(b"hello").unwrap();
        let mut heard = [0; 5];
        accepted.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"hello");
        let none = receive_at_once(&receiver).unwrap_err();
        assert_eq!(none.kind(), io::ErrorKind::WouldBlock);
        drop(sender);
        assert_eq!(receive(&receiver).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
