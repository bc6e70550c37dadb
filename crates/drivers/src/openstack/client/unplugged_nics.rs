//! Memory of NICs whose unplugging was requested: Nova accepts the request at once, and carries it out later.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A guest that did not release a NIC in this time is not waited for.
const GOES_IN: Duration = Duration::from_mins(2);

/// Ports by server, and the steady time of the request. Entries are dropped when they are old, so its size is bounded by
/// the requests of that time. What a restart forgets is only not waited for.
#[derive(Default)]
pub(in crate::openstack) struct Unplugged(Mutex<HashMap<String, Vec<(String, Duration)>>>);

impl Unplugged {
    pub(in crate::openstack) fn note(&self, server: &str, port: &str, now: Duration) {
        let mut servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        servers.retain(|_, ports| {
            ports.retain(|(_, since)| now.saturating_sub(*since) < GOES_IN);
            !ports.is_empty()
        });
        servers.entry(server.to_owned()).or_default().push((port.to_owned(), now));
    }

    /// The ports of `server` that may still go.
    pub(in crate::openstack) fn going(&self, server: &str, now: Duration) -> Vec<String> {
        let servers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ports = servers.get(server).into_iter().flatten();
        let fresh = ports.filter(|(_, since)| now.saturating_sub(*since) < GOES_IN);
        fresh.map(|(port, _)| port.clone()).collect()
    }
}
