//! Listening sockets: one per shard and address (SO_REUSEPORT), accepting by readability and `accept4`.
#![expect(unsafe_code, reason = "accept4, for sockets that are close-on-exec from their first moment")]

use super::tcp::tune_listener;
use monoio::net::TcpListener;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A bound socket that does not listen yet; made by the main thread, so that a taken port is said before anything starts.
pub struct Bound(Socket);

/// A socket that listens on this thread's runtime.
pub struct Listener {
    tcp: TcpListener,
    non_blocking: bool,
}

/// Binds `addr` with SO_REUSEPORT, so that every shard can have a queue of its own.
///
/// # Errors
/// As the kernel says: the port is taken by another user, the address is not ours, …
pub fn bind(addr: SocketAddr) -> Result<Bound> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    tune_listener(&socket)?;
    socket.bind(&addr.into())?;
    Ok(Bound(socket))
}

/// Is somebody else listening here? SO_REUSEPORT would let two gateways share a port unnoticed.
pub fn is_taken(addr: SocketAddr) -> bool {
    let probe = || -> Result<()> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.bind(&addr.into())
    };
    probe().is_err_and(|error| error.kind() == ErrorKind::AddrInUse)
}

impl Bound {
    /// Starts to listen, on the thread whose runtime will accept. `non_blocking`: what the epoll driver needs of sockets.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn listen(self, backlog: u32, non_blocking: bool) -> Result<Listener> {
        self.0.listen(backlog.min(i32::MAX as u32) as i32)?;
        self.0.set_nonblocking(true)?;
        Ok(Listener { tcp: TcpListener::from_std(self.0.into())?, non_blocking })
    }

    /// The address, with the port the kernel chose for port 0.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn addr(&self) -> Result<SocketAddr> {
        self.0.local_addr()?.as_socket().ok_or_else(|| ErrorKind::Unsupported.into())
    }
}

impl Listener {
    /// Waits until a connection may be waiting.
    ///
    /// # Errors
    /// As the kernel says.
    pub async fn ready(&self) -> Result<()> {
        self.tcp.readable(false).await
    }

    /// Takes a waiting connection; `None` when there is none.
    ///
    /// # Errors
    /// As the kernel says; `EMFILE` and `ENFILE` leave the connection in the queue.
    pub fn accept(&self) -> Result<Option<OwnedFd>> {
        let mut flags = libc::SOCK_CLOEXEC;
        if self.non_blocking {
            flags |= libc::SOCK_NONBLOCK;
        }
        // SAFETY: no address is asked for, so nothing is written; the descriptor returned is ours alone.
        let fd = unsafe { libc::accept4(self.tcp.as_raw_fd(), std::ptr::null_mut(), std::ptr::null_mut(), flags) };
        if fd >= 0 {
            // SAFETY: a fresh descriptor that nothing else owns.
            return Ok(Some(unsafe { OwnedFd::from_raw_fd(fd) }));
        }
        let error = Error::last_os_error();
        match error.kind() {
            ErrorKind::WouldBlock => Ok(None),
            // The client was gone before we came; the next one may be there.
            ErrorKind::ConnectionAborted | ErrorKind::Interrupted => self.accept(),
            _ => Err(error),
        }
    }
}

/// Has the process, or the machine, no descriptor left?
pub fn is_out_of_descriptors(error: &Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM))
}

/// Raises the soft limit of open files to the hard one; the limit that holds now.
pub fn raise_file_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid rlimit to write to.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return 0;
    }
    if limit.rlim_cur < limit.rlim_max {
        let wanted = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // SAFETY: `wanted` is a valid rlimit to read.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &wanted) } == 0 {
            return wanted.rlim_cur;
        }
    }
    limit.rlim_cur
}
