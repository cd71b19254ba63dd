//! TLS of sources, by rustls: certificates from PEM files, and a session over a socket that does not block.

use crate::sys;
use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use std::fmt;
use std::io::{self, BufRead, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why TLS cannot be used as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsDefect {
    /// The file that is wrong, if one is.
    pub file: Option<PathBuf>,
    /// What is wrong.
    pub because: String,
}

impl fmt::Display for TlsDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.file {
            Some(file) => write!(f, "{}: {}", file.display(), self.because),
            None => f.write_str(&self.because),
        }
    }
}

impl std::error::Error for TlsDefect {}

/// How one side of a connection does its hand-shake. Cheap to clone.
#[derive(Clone)]
pub struct Tls(Side);

#[derive(Clone)]
enum Side {
    Server(Arc<ServerConfig>),
    Client { config: Arc<ClientConfig>, name: Option<String> },
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self.0, Side::Server(_)) { "Tls(server)" } else { "Tls(client)" })
    }
}

impl Tls {
    /// Of a server with this certificate (and those between it and its root) and key. With `client_ca` every client
    /// must show a certificate that leads to one in that file.
    pub fn server(certificate: &Path, key: &Path, client_ca: Option<&Path>) -> Result<Tls, TlsDefect> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsDefect { file: None, because: error.to_string() })?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(file) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots_of(file)?), provider());
                let verifier = verifier.build().map_err(|error| defect(file, error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let (certificates, secret) = (certificates_of(certificate)?, key_of(key)?);
        let config = builder.with_single_cert(certificates, secret).map_err(|error| defect(key, error))?;
        Ok(Tls(Side::Server(Arc::new(config))))
    }

    /// Of a client that trusts the certificates in `ca`, else those that the system trusts; with a certificate and key
    /// to show, if a server asks. `name` is what the server's certificate must be for, if not the host that is called.
    pub fn client(ca: Option<&Path>, identity: Option<(&Path, &Path)>, name: Option<String>) -> Result<Tls, TlsDefect> {
        let roots = match ca {
            Some(file) => roots_of(file)?,
            None => system_roots()?,
        };
        let nowhere = |because: String| TlsDefect { file: ca.map(Path::to_owned), because };
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = verifier.build().map_err(|error| nowhere(error.to_string()))?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| nowhere(error.to_string()))?
            .with_webpki_verifier(verifier);
        let config = match identity {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let (certificates, secret) = (certificates_of(certificate)?, key_of(key)?);
                builder.with_client_auth_cert(certificates, secret).map_err(|error| defect(key, error))?
            }
        };
        if let Some(name) = &name {
            server_name(name)?;
        }
        Ok(Tls(Side::Client { config: Arc::new(config), name }))
    }

    /// A session that has not begun. `host` is who is called, of a client.
    pub(crate) fn session(&self, host: &str) -> Result<Session, TlsDefect> {
        let nothing = |error: rustls::Error| TlsDefect { file: None, because: error.to_string() };
        let connection = match &self.0 {
            Side::Server(config) => Connection::Server(ServerConnection::new(config.clone()).map_err(nothing)?),
            Side::Client { config, name } => {
                let name = server_name(name.as_deref().unwrap_or(host))?;
                Connection::Client(ClientConnection::new(config.clone(), name).map_err(nothing)?)
            }
        };
        Ok(Session { connection, more: false })
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn defect(file: &Path, error: impl fmt::Display) -> TlsDefect {
    TlsDefect { file: Some(file.to_owned()), because: error.to_string() }
}

fn server_name(host: &str) -> Result<ServerName<'static>, TlsDefect> {
    let because = || format!("{host:?} is no name that a certificate could be for");
    ServerName::try_from(host.to_owned()).map_err(|_| TlsDefect { file: None, because: because() })
}

fn read(file: &Path) -> Result<Vec<u8>, TlsDefect> {
    std::fs::read(file).map_err(|error| defect(file, error))
}

fn certificates_of(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsDefect> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&read(file)?).collect();
    match found {
        Ok(found) if found.is_empty() => Err(defect(file, "there is no certificate in it (PEM is expected)")),
        Ok(found) => Ok(found),
        Err(error) => Err(defect(file, error)),
    }
}

fn key_of(file: &Path) -> Result<PrivateKeyDer<'static>, TlsDefect> {
    use rustls::pki_types::pem::Error;
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|error| match error {
        Error::NoItemsFound => defect(file, "there is no private key in it (PEM without a password is expected)"),
        error => defect(file, error),
    })
}

fn roots_of(file: &Path) -> Result<RootCertStore, TlsDefect> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_of(file)? {
        roots.add(certificate).map_err(|error| defect(file, error))?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsDefect> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err(TlsDefect { file: None, because: "the system has no certificates that it trusts".to_owned() }),
        false => Ok(roots),
    }
}

/// How far a hand-shake came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Done,
    WantsRead,
    WantsWrite,
}

/// A TLS session over a socket that does not block.
pub(crate) struct Session {
    connection: Connection,
    /// The session has something to tell, which the socket will not report.
    more: bool,
}

struct Socket<'a>(BorrowedFd<'a>);

impl Read for Socket<'_> {
    fn read(&mut self, data: &mut [u8]) -> io::Result<usize> {
        sys::receive_into(self.0, data)
    }
}

impl Write for Socket<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        sys::send(self.0, data)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_later(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

impl Session {
    /// Goes on with the hand-shake as far as the socket lets it.
    pub fn handshake(&mut self, socket: BorrowedFd<'_>) -> io::Result<Step> {
        loop {
            if !self.flush(socket)? {
                return Ok(Step::WantsWrite);
            }
            if !self.connection.is_handshaking() {
                self.more = true; // what came with the last message of the other side
                return Ok(Step::Done);
            }
            match self.connection.read_tls(&mut Socket(socket)) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the other side hung up")),
                Ok(_) => self.process(socket)?,
                Err(error) if is_later(&error) => return Ok(Step::WantsRead),
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether a call of [`Session::receive`] would give something although nothing comes from the socket.
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// Reads behind what is in `data`, at least `at_most` if that is there. How many bytes; 0: the sender is done.
    ///
    /// Bound: `at_most` and what one read of the session brings (some records of 16 KiB).
    pub fn receive(&mut self, socket: BorrowedFd<'_>, data: &mut Vec<u8>, at_most: usize) -> io::Result<usize> {
        self.more = false;
        let before = data.len();
        let result = self.receive_all(socket, data, before + at_most);
        let bytes = data.len() - before;
        if bytes == 0 {
            return result.map(|()| 0);
        }
        // An end, or a fault, is told by the next call: what came before it is taken first.
        self.more = !matches!(&result, Err(error) if is_later(error));
        Ok(bytes)
    }

    /// Fills `data` until it is long enough, or the session ended, or there is an error: also that nothing is there.
    fn receive_all(&mut self, socket: BorrowedFd<'_>, data: &mut Vec<u8>, enough: usize) -> io::Result<()> {
        loop {
            let mut plain = self.connection.reader();
            match plain.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(bytes) => {
                    data.extend_from_slice(bytes);
                    let taken = bytes.len();
                    plain.consume(taken);
                    continue;
                }
                Err(error) if is_later(&error) => {}
                Err(error) => return Err(error),
            }
            if data.len() >= enough {
                return Err(ErrorKind::WouldBlock.into()); // the socket reports the rest
            }
            self.connection.read_tls(&mut Socket(socket))?;
            self.process(socket)?;
        }
    }

    fn process(&mut self, socket: BorrowedFd<'_>) -> io::Result<()> {
        if let Err(error) = self.connection.process_new_packets() {
            let _ = self.flush(socket); // tells the other side why
            return Err(io::Error::new(ErrorKind::InvalidData, error));
        }
        self.flush(socket).map(drop)
    }

    /// Takes bytes to be sent by [`Session::flush`].
    pub fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.connection.writer().write_all(data)
    }

    /// Says that nothing more is sent.
    pub fn end_writing(&mut self, socket: BorrowedFd<'_>) {
        self.connection.send_close_notify();
        let _ = self.flush(socket);
    }

    /// Sends what waits, as far as the socket takes it. Whether that was all.
    pub fn flush(&mut self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        while self.connection.wants_write() {
            match self.connection.write_tls(&mut Socket(socket)) {
                Ok(_) => {}
                Err(error) if is_later(&error) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrong_files_are_named() {
        let folder = std::env::temp_dir().join(format!("squall-tls-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (missing, empty, none) = (folder.join("missing.pem"), folder.join("empty.pem"), None);
        std::fs::write(&empty, "nothing\n").unwrap();
        let defect = Tls::server(&missing, &missing, none).err().unwrap();
        assert_eq!(defect.file, Some(missing.clone()));
        let defect = Tls::server(&empty, &missing, none).err().unwrap();
        assert_eq!(defect.to_string(), format!("{}: there is no certificate in it (PEM is expected)", empty.display()));
        let defect = Tls::client(Some(&empty), None, None).err().unwrap();
        assert_eq!(defect.file, Some(empty));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
