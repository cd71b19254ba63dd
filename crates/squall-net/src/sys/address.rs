//! Addresses for `connect`.

use std::io;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// An address as system calls want it.
pub enum SockAddr {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
    Unix(Box<libc::sockaddr_un>),
}

impl SockAddr {
    /// A path of at most 107 bytes.
    pub fn unix(path: &Path) -> io::Result<SockAddr> {
        // SAFETY: plain numbers.
        let mut address: libc::sockaddr_un = unsafe { std::mem::zeroed() };
        let bytes = path.as_os_str().as_bytes();
        if bytes.len() >= address.sun_path.len() {
            let because =
                format!("{}: a socket's path has at most {} bytes", path.display(), address.sun_path.len() - 1);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, because));
        }
        address.sun_family = libc::AF_UNIX as libc::sa_family_t;
        address.sun_path.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from as libc::c_char);
        Ok(SockAddr::Unix(Box::new(address)))
    }

    pub(super) fn family(&self) -> libc::c_int {
        match self {
            SockAddr::V4(_) => libc::AF_INET,
            SockAddr::V6(_) => libc::AF_INET6,
            SockAddr::Unix(_) => libc::AF_UNIX,
        }
    }

    pub(super) fn as_raw(&self) -> (*const libc::sockaddr, libc::socklen_t) {
        fn of<T>(address: &T) -> (*const libc::sockaddr, libc::socklen_t) {
            ((address as *const T).cast(), std::mem::size_of::<T>() as libc::socklen_t)
        }
        match self {
            SockAddr::V4(address) => of(address),
            SockAddr::V6(address) => of(address),
            SockAddr::Unix(address) => of(&**address),
        }
    }
}

impl From<SocketAddr> for SockAddr {
    fn from(address: SocketAddr) -> SockAddr {
        match address {
            SocketAddr::V4(v4) => SockAddr::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(v6) => SockAddr::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            }),
        }
    }
}
