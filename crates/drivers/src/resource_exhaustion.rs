//! Resources that this process ran out of: descriptors, memory. Such a failure proves nothing about the backend or the
//! object.

use std::error::Error;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use stateward_domain::failure::{ErrorClass, Failure};

/// An exhausted resource of this process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ResourceExhausted {
    /// Code of the failure.
    pub(crate) code: &'static str,
    /// One sentence for people.
    pub(crate) message: &'static str,
}

const DESCRIPTORS: ResourceExhausted = ResourceExhausted {
    code: "too_many_open_files",
    message: "the service has no file descriptor left: raise its limit (LimitNOFILE, ulimit -n)",
};
const MEMORY: ResourceExhausted =
    ResourceExhausted { code: "out_of_memory", message: "the system has no memory left" };

impl ResourceExhausted {
    /// The resource that `errno` reports as exhausted; `None` = another error.
    ///
    /// `EADDRNOTAVAIL` is not included: on a host without IPv6 it also means that the address is not reachable.
    pub(crate) fn of(errno: Errno) -> Option<Self> {
        match errno {
            Errno::MFILE | Errno::NFILE => Some(DESCRIPTORS),
            Errno::NOMEM | Errno::NOBUFS => Some(MEMORY),
            _ => None,
        }
    }

    /// The resource that was missing for a connection; `None` = the connection failed for another reason, or was made.
    pub(crate) fn of_connection(error: &reqwest::Error) -> Option<Self> {
        if !error.is_connect() {
            return None;
        }
        match errno_in(error) {
            Some(errno) => Self::of(errno),
            // Resolving a name opens files and sockets, and its error does not give the cause.
            None if !descriptors_are_left() => Some(DESCRIPTORS),
            None => None,
        }
    }

    /// The failure of a call that sent nothing.
    pub(crate) fn failure(self) -> Failure {
        Failure::harmless(ErrorClass::Exhausted, self.code, self.message)
    }
}

/// The system's error number at the root of `error`.
fn errno_in(error: &(dyn Error + 'static)) -> Option<Errno> {
    let causes = std::iter::successors(Some(error), |error| (*error).source());
    causes
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .find_map(|cause| cause.raw_os_error().map(Errno::from_raw_os_error))
}

fn descriptors_are_left() -> bool {
    let opened = rustix::fs::openat(CWD, "/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    !matches!(opened, Err(Errno::MFILE | Errno::NFILE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("tcp open error")]
    struct Opening(#[source] std::io::Error);

    #[derive(Debug, thiserror::Error)]
    #[error("client error")]
    struct Client(#[source] std::io::Error);

    #[test]
    fn the_error_number_is_found_below_whatever_wraps_it() {
        for (errno, exhausted) in [
            (Errno::MFILE, Some(DESCRIPTORS)),
            (Errno::NFILE, Some(DESCRIPTORS)),
            (Errno::NOMEM, Some(MEMORY)),
            (Errno::NOBUFS, Some(MEMORY)),
            (Errno::CONNREFUSED, None),
            (Errno::TIMEDOUT, None),
            (Errno::ADDRNOTAVAIL, None),
            (Errno::NETUNREACH, None),
        ] {
            let injected = || std::io::Error::from_raw_os_error(errno.raw_os_error());
            let error = Client(std::io::Error::other(Opening(injected())));
            assert_eq!(errno_in(&error), Some(errno));
            assert_eq!(errno_in(&error).and_then(ResourceExhausted::of), exhausted, "{errno}");
        }
        assert_eq!(errno_in(&Client(std::io::Error::other("lookup failed"))), None);
        assert!(descriptors_are_left());
    }

    #[test]
    fn it_is_a_failure_of_ours() {
        assert_eq!(DESCRIPTORS.failure().class, ErrorClass::Exhausted);
        assert!(!MEMORY.failure().class.uses_budget());
    }
}
