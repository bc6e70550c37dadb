//! Proof of a server's identity for local clients. A client that found the server by its address file checks it before
//! it sends the first administrator's token, because the file of a killed server may name a port that another process
//! uses now.
//!
//! Both sides know the token: the server answers a random challenge with an HMAC under the token's digest. A process
//! without the token cannot answer, and a challenge reveals nothing to it.

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::auth::token_digest::hexadecimal;

/// Request header of `GET /livez` with the challenge.
pub const CHALLENGE: &str = "Stateward-Challenge";
/// Response header with the proof.
pub const PROOF: &str = "Stateward-Proof";
/// Characters of a challenge: 32 bytes in hexadecimal, so that a response cannot be used for anything else.
pub const CHALLENGE_CHARS: usize = 64;

/// The proof of a server that knows `token`, for `challenge`.
#[must_use]
pub fn proof(token: &str, challenge: &str) -> String {
    answer(&Sha256::digest(token).into(), challenge)
}

/// The same by the digest of the token.
pub(crate) fn answer(digest: &[u8; 32], challenge: &str) -> String {
    let mac = Hmac::<Sha256>::new_from_slice(digest);
    let mut mac = mac.expect("HMAC takes keys of every length");
    mac.update(challenge.as_bytes());
    hexadecimal(&mac.finalize().into_bytes())
}

/// Whether `text` is a valid challenge.
pub(crate) fn is_challenge(text: &str) -> bool {
    text.len() == CHALLENGE_CHARS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_depends_on_token_and_challenge() {
        let (one, other) = ("1".repeat(CHALLENGE_CHARS), "2".repeat(CHALLENGE_CHARS));
        assert_eq!(proof("stw_a", &one), proof("stw_a", &one));
        assert_ne!(proof("stw_a", &one), proof("stw_a", &other));
        assert_ne!(proof("stw_a", &one), proof("stw_b", &one));
        assert!(is_challenge(&one));
        assert!(!is_challenge("1") && !is_challenge(&"x".repeat(CHALLENGE_CHARS)));
    }
}
