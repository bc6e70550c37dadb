//! File descriptors: each connection takes one, and some are reserved for the store and the backends.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors for files, pools and connections to backends; half of all where there are few.
const RESERVED: u64 = 1_024;

/// Raises the soft limit of this process to the hard limit; returns the number of connections that it allows.
pub(crate) fn for_connections() -> usize {
    let limit = getrlimit(Resource::Nofile);
    // When raising fails, the present limit counts.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    room(getrlimit(Resource::Nofile).current)
}

/// Connections that `limit` descriptors allow; `None` = unlimited.
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
