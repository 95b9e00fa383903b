//! TLS: the certificate that the server shows, read again when its files change.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert, ServerConfig};
use rustls::sign::CertifiedKey;
use tokio_rustls::TlsAcceptor;

use crate::http::reread::Files;

/// HTTP/2 as ALPN names it.
pub(super) const HTTP_2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// TLS 1.2 and 1.3, with HTTP/2 for clients that offer it.
#[derive(Clone)]
pub struct Tls {
    pub(super) acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or is no PEM file with what it should hold.
    #[error("{} is not {expected} in PEM: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The chain and the key can't be used with each other.
    #[error("the certificate in {} can't be used with the key in {}: {source}", chain.display(), key.display())]
    Unusable {
        /// The file of the certificate chain.
        chain: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// What TLS makes of them.
        source: rustls::Error,
    },
}

impl Tls {
    /// TLS with the certificate chain in one PEM file, the server's own first, and its private key
    /// in another.
    ///
    /// # Errors
    ///
    /// Where a file can't be read, or the two don't belong together.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let (chain, provider) = (certificate, Arc::new(ring::default_provider()));
        let certificate = Arc::new(Certificate::from_files(chain, key)?);
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|source| TlsError::Unusable {
                chain: chain.to_owned(),
                key: key.to_owned(),
                source,
            })?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as _);
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
        })
    }

    /// Reads the files again if they have changed. Connections go on with what they began with; a
    /// certificate that can't be used leaves the one before it in place.
    pub(in crate::http) fn refresh(&self) {
        self.certificate.refresh();
    }
}

/// A certificate chain and its key, and where they came from.
#[derive(Debug)]
struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    files: Files,
    shown: RwLock<Arc<CertifiedKey>>,
}

impl Certificate {
    fn from_files(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let files = Files::new([chain, key]);
        Ok(Self {
            chain: chain.to_owned(),
            key: key.to_owned(),
            files,
            shown: RwLock::new(load(chain, key)?),
        })
    }

    fn refresh(&self) {
        if !self.files.have_changed() {
            return;
        }
        let path = self.chain.display();
        match load(&self.chain, &self.key) {
            Ok(new) => {
                *self.shown.write().unwrap_or_else(PoisonError::into_inner) = new;
                tracing::info!(%path, "a new certificate is shown from now on");
            }
            Err(error) => {
                tracing::warn!(%error, "the certificate before is shown until its files are well again");
            }
        }
    }
}

/// Reads a chain and its key, and checks that they belong together.
fn load(chain: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let unreadable = |path: &Path, expected| {
        let path = path.to_owned();
        move |source| TlsError::Unreadable {
            path,
            expected,
            source,
        }
    };
    let certificates: Vec<CertificateDer> = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect)
        .map_err(unreadable(chain, "a certificate chain"))?;
    if certificates.is_empty() {
        return Err(unreadable(chain, "a certificate chain")(
            pem::Error::NoItemsFound,
        ));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(unreadable(key, "a private key"))?;
    CertifiedKey::from_der(certificates, private, &ring::default_provider())
        .map(Arc::new)
        .map_err(|source| TlsError::Unusable {
            chain: chain.to_owned(),
            key: key.to_owned(),
            source,
        })
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let shown = self.shown.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&shown))
    }
}
