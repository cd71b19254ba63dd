//! TLS of sources, by rustls: certificates from PEM files.

mod session;

pub(crate) use session::{Session, Step};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};
use std::fmt;
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
        Ok(Session::new(connection))
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
