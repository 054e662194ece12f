//! What the kernel knows of the other end of a TCP connection: whether that still acknowledges anything.

use nix::{errno::Errno, libc};
use std::{io, mem::zeroed, os::fd::AsRawFd, time::Duration};

/// How long the other end has acknowledged nothing, and what was sent to it in vain meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unacknowledged {
    /// Since its last segment.
    pub silence: Duration,
    /// Segments sent again, and questions for room in its buffer, since its last answer to one.
    pub attempts: u32,
}

/// Asks the kernel (tcp(7), TCP_INFO).
pub fn unacknowledged(socket: &impl AsRawFd) -> io::Result<Unacknowledged> {
    // SAFETY: tcp_info is plain numbers; all zeros is a valid value of it.
    let mut info: libc::tcp_info = unsafe { zeroed() };
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: both pointers are to live values, and the kernel writes no more than the length says.
    let told = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut length,
        )
    };
    Errno::result(told)?;
    Ok(Unacknowledged {
        silence: Duration::from_millis(info.tcpi_last_ack_recv.into()),
        attempts: u32::from(info.tcpi_retransmits) + u32::from(info.tcpi_probes),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        net::{TcpListener, TcpStream, UdpSocket},
    };

    #[test]
    fn a_client_whose_kernel_answers_has_nothing_sent_in_vain_and_no_other_socket_has_an_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut server, _) = listener.accept().unwrap();
        server.write_all(b"hello").unwrap();
        assert_eq!(unacknowledged(&server).unwrap().attempts, 0);
        let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
        assert!(unacknowledged(&datagrams).is_err());
    }
}
