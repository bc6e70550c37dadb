//! The first administrator's token.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::server_proof;

/// The first administrator's token; only its digest is kept.
pub struct AdminToken {
    digest: [u8; 32],
}

impl AdminToken {
    /// Keeps the digest of `token`.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self { digest: Sha256::digest(token).into() }
    }

    /// Whether `digest` is the token's; compares in constant time.
    pub(super) fn matches(&self, digest: &[u8; 32]) -> bool {
        self.digest.ct_eq(digest).into()
    }

    /// The proof that this server knows the token.
    pub(crate) fn proof(&self, challenge: &str) -> String {
        server_proof::answer(&self.digest, challenge)
    }
}
