//! TLS: a certificate chain and its key, which can be reloaded while the server runs.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// A server's certificate with its key. Cheap to clone; all clones present the same certificate.
#[derive(Clone)]
pub struct Tls {
    pub(crate) config: ServerConfig,
    presented: Arc<Presented>,
}

/// Why a certificate or key cannot be used: one line, without the content of the files.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {message}")]
pub struct BadCertificate {
    file: String,
    message: String,
}

impl Tls {
    /// Reads the chain in `certificates` and the key in `key`, both PEM.
    ///
    /// # Errors
    /// A file that cannot be read or has another content, or a key that does not match the certificate.
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, BadCertificate> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let presented = Arc::new(Presented {
            current: RwLock::new(Arc::new(read(certificates, key, &provider)?)),
            files: (certificates.to_owned(), key.to_owned()),
            provider: Arc::clone(&provider),
        });
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(key, &error))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&presented) as Arc<dyn ResolvesServerCert>);
        Ok(Self { config, presented })
    }

    /// Reads the same files again. New handshakes present the new certificate; established connections continue.
    ///
    /// # Errors
    /// As [`load`](Self::load); the earlier certificate stays.
    pub fn reload(&self) -> Result<(), BadCertificate> {
        let (certificates, key) = &self.presented.files;
        let fresh = Arc::new(read(certificates, key, &self.presented.provider)?);
        *self.presented.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The server's certificate that is presented now, DER.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        let current = self.presented.current();
        // `read` refuses an empty chain.
        current.cert.first().map(|certificate| certificate.to_vec()).unwrap_or_default()
    }
}

/// The certificate for all handshakes, whatever server name a client requests.
struct Presented {
    current: RwLock<Arc<CertifiedKey>>,
    /// Chain and key.
    files: (PathBuf, PathBuf),
    provider: Arc<CryptoProvider>,
}

impl Presented {
    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl ResolvesServerCert for Presented {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl fmt::Debug for Presented {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Presented").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(
    certificates: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, BadCertificate> {
    let chain = CertificateDer::pem_file_iter(certificates)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| bad(certificates, &error))?;
    if chain.is_empty() {
        return Err(bad(certificates, &"there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, &error))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|error| bad(key, &error))
}

fn bad(file: &Path, message: &dyn fmt::Display) -> BadCertificate {
    BadCertificate { file: file.display().to_string(), message: message.to_string() }
}
