//! File descriptors: each connection takes one, and what the store and the backends need must be left.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What files, pools and connections to backends take; half of all where there are few.
const RESERVED: u64 = 1_024;

/// Raises the limit of this process as far as it may be raised. Answers with the number of connections that there are
/// descriptors for.
pub(crate) fn for_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised it is left as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    room(getrlimit(Resource::Nofile).current)
}

/// Connections that `limit` descriptors leave room for; `None` = as many as one likes.
fn room(limit: Option<u64>) -> usize {
    let left = limit.map(|limit| limit - RESERVED.min(limit / 2));
    left.and_then(|left| usize::try_from(left).ok()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptors_are_left_for_everything_else() {
        assert_eq!(room(None), usize::MAX);
        assert_eq!(room(Some(1_024)), 512);
        assert_eq!(room(Some(65_536)), 64_512);
    }
}
