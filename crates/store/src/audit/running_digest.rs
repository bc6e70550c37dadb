//! The running digest over the hashes of all events in commit order.

use sha2::{Digest as _, Sha256};
use stateward_domain::audit::Digest;
use stateward_domain::id::LogId;

/// Domain separation: no other digest begins with this.
const DOMAIN: &[u8] = b"stateward checkpoint 1";

/// A digest that grows with the log. Every part is preceded by its length, so that no two logs hash the same bytes.
#[derive(Clone)]
pub struct RunningDigest {
    hasher: Sha256,
    count: u64,
}

impl RunningDigest {
    /// The digest of the empty log `log_id`.
    #[must_use]
    pub fn new(log_id: LogId) -> Self {
        let mut running = Self { hasher: Sha256::new(), count: 0 };
        running.part(DOMAIN);
        running.part(log_id.0.as_bytes());
        running
    }

    /// Adds the stored hash of the next event; an unreadable hash is empty.
    pub fn take(&mut self, hash: &[u8]) {
        self.part(hash);
        self.count += 1;
    }

    /// Number of events added.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The digest so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(self.hasher.clone().finalize().into())
    }

    fn part(&mut self, bytes: &[u8]) {
        self.hasher.update((bytes.len() as u64).to_be_bytes());
        self.hasher.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(log: u128, hashes: &[&[u8]]) -> RunningDigest {
        let mut running = RunningDigest::new(LogId(uuid::Uuid::from_u128(log)));
        for hash in hashes {
            running.take(hash);
        }
        running
    }

    #[test]
    fn the_algorithm_is_pinned() {
        let text = running(7, &[&[1; 32], &[2; 32]]).digest().to_string();
        assert_eq!(text, "19c3e0f01bf38e8a307a0625b56be5aaa288e7b34f8ce122dca11bf3d180d7e8");
    }

    #[test]
    fn order_number_and_log_count() {
        let one = running(7, &[&[1; 32], &[2; 32]]).digest();
        assert_ne!(running(7, &[&[2; 32], &[1; 32]]).digest(), one);
        assert_ne!(running(7, &[&[1; 32]]).digest(), one);
        assert_ne!(running(8, &[&[1; 32], &[2; 32]]).digest(), one);
    }
}
