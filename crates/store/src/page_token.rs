//! Page tokens: the last id of a page, bound to the filter that it was made for.

use sha2::{Digest, Sha256};
use stateward_domain::ports::projection::ModelError;
use uuid::Uuid;

use crate::hex;

/// Hexadecimal digits of the filter's digest in a token.
const DIGEST_DIGITS: usize = 16;
const ID_DIGITS: usize = 32;

/// The token of the page behind `last`. `filter` is a text that identifies the filter.
pub(crate) fn token(filter: &str, last: Uuid) -> String {
    format!("{}{}", last.simple(), digest(filter, last))
}

/// The id that the page begins behind.
///
/// # Errors
/// [`ModelError::BadPageToken`] for everything that [`token`] did not make for this filter.
pub(crate) fn after(filter: &str, token: &str) -> Result<Uuid, ModelError> {
    let sound = token.len() == ID_DIGITS + DIGEST_DIGITS
        && token.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    if !sound {
        return Err(ModelError::BadPageToken);
    }
    let (id, seal) = token.split_at(ID_DIGITS);
    let id = Uuid::try_parse(id).map_err(|_| ModelError::BadPageToken)?;
    if digest(filter, id) == seal { Ok(id) } else { Err(ModelError::BadPageToken) }
}

/// Guards against mistakes, not against forgery: a forged token shows nothing that the caller may not see.
fn digest(filter: &str, last: Uuid) -> String {
    let hash = Sha256::new().chain_update(last.as_bytes()).chain_update(filter).finalize();
    hex::encode(&hash[..DIGEST_DIGITS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_fits_its_filter_only() {
        let id = Uuid::from_u128(3);
        let made = token("kind=a", id);
        assert_eq!(after("kind=a", &made), Ok(id));
        assert_eq!(after("kind=b", &made), Err(ModelError::BadPageToken));
        for forged in ["", "x", "é", &made[1..], &format!("{made}0"), &made.to_uppercase()] {
            assert_eq!(after("kind=a", forged), Err(ModelError::BadPageToken), "{forged}");
        }
    }
}
