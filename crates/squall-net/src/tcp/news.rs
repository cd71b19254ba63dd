//! What people want to know of connections, beside their records.

use std::fmt;

/// Something that happened to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A hand-shake failed or took too long; the connection was closed.
    Handshake {
        /// Who is at the other end.
        peer: String,
        /// Why.
        because: String,
    },
    /// A server was reached.
    Connected {
        /// Its address, as it was given.
        server: String,
    },
    /// A server was not reached; said once until it is, or the reason is another one.
    Unreachable {
        /// Its address, as it was given.
        server: String,
        /// Why.
        because: String,
    },
    /// The connection to a server ended.
    Lost {
        /// Its address, as it was given.
        server: String,
        /// Why.
        because: String,
    },
    /// The kernel had no room for datagrams: they are lost.
    Dropped {
        /// How many since it was said last.
        datagrams: u64,
    },
    /// The journal takes nothing, so nothing is read.
    Unstored {
        /// The journal's directory.
        dir: String,
        /// Why.
        because: String,
    },
    /// The journal takes records again.
    StoresAgain {
        /// The journal's directory.
        dir: String,
    },
    /// A crash had cut a commit off, which was never confirmed.
    Cut {
        /// The journal's directory.
        dir: String,
        /// What there was of it.
        bytes: u64,
    },
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            News::Handshake { peer, because } => write!(f, "the TLS hand-shake with {peer} failed: {because}"),
            News::Connected { server } => write!(f, "event=connected server={server}"),
            News::Unreachable { server, because } => write!(f, "event=unreachable server={server} because={because:?}"),
            News::Lost { server, because } => write!(f, "event=disconnected server={server} because={because:?}"),
            News::Dropped { datagrams } => {
                write!(f, "{datagrams} datagrams came faster than they were read and are lost")
            }
            News::Unstored { dir, because } => {
                write!(f, "the journal in {dir} takes no records, so no socket is read until it does: {because}")
            }
            News::StoresAgain { dir } => write!(f, "event=journal_stores_again dir={dir:?}"),
            News::Cut { dir, bytes } => write!(f, "event=journal_tail_cut dir={dir:?} bytes={bytes}"),
        }
    }
}
