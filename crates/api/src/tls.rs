//! Encryption: a certificate chain and its key, read once at the start.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate with its key, fit for a server.
#[derive(Clone)]
pub struct Tls(pub(crate) ServerConfig);

/// Why a certificate or key cannot be used: one line, without what is in the files.
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
    /// A file that cannot be read or holds something else, a key that does not fit the certificate.
    pub fn load(certificates: &Path, key: &Path) -> Result<Self, BadCertificate> {
        let bad = |file: &Path, message: String| BadCertificate {
            file: file.display().to_string(),
            message,
        };
        let chain = CertificateDer::pem_file_iter(certificates)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| bad(certificates, error.to_string()))?;
        if chain.is_empty() {
            return Err(bad(certificates, "there is no certificate in it".to_owned()));
        }
        let private =
            PrivateKeyDer::from_pem_file(key).map_err(|error| bad(key, error.to_string()))?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| bad(key, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| bad(key, error.to_string()))?;
        Ok(Self(config))
    }
}
