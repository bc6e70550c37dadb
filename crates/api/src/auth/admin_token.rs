//! The first administrator's token.

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::token_digest::digest;
use crate::server_proof;

/// The first administrator's token; only its digest is kept.
pub struct AdminToken {
    digest: [u8; 32],
    /// Whether the token that the processes of a shared store have in common counts too.
    shared: bool,
}

impl AdminToken {
    /// Keeps the digest of `token`.
    #[must_use]
    pub fn new(token: &str) -> Self {
        Self { digest: Sha256::digest(token).into(), shared: false }
    }

    /// As [`new`](Self::new); the token that the first process of a shared store declared is accepted as well.
    #[must_use]
    pub fn beside_declared(token: &str) -> Self {
        Self { shared: true, ..Self::new(token) }
    }

    /// Whether the declared token counts too.
    pub(super) const fn accepts_declared(&self) -> bool {
        self.shared
    }

    /// Digest of a token, as the log has it.
    #[must_use]
    pub fn digest_of(token: &str) -> String {
        digest(token)
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
