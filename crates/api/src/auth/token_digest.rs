//! Digests of tokens, as they are stored and looked up.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The digest of a token's value, in hexadecimal.
pub(crate) fn digest(token: &str) -> String {
    hexadecimal(&Sha256::digest(token))
}

pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a `String` never fails.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
