//! Memory of NICs that were asked for without an answer: Nova made the port, and its name was in the answer.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A request that made no port in this time makes none.
const MADE_IN: Duration = Duration::from_mins(10);
/// A port that was found is known as ours for as long, unless it is tagged before.
const KNOWN_FOR: Duration = Duration::from_hours(24);

/// What is known of one server.
#[derive(Default)]
struct Lost {
    /// Requests without an answer: the network, the ports that were there before, and the steady time.
    asked: Vec<(String, Vec<String>, Duration)>,
    /// Ports that such a request made, and when they were found.
    made: Vec<(String, Duration)>,
}

/// Requests and ports by server. Old entries are dropped, so its size is bounded by the lost answers of a day. After a
/// restart such a port counts as another's, and stays.
#[derive(Default)]
pub(in crate::openstack) struct LostPlugs(Mutex<HashMap<String, Lost>>);

impl LostPlugs {
    fn servers(&self) -> MutexGuard<'_, HashMap<String, Lost>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A NIC in `network` was asked for, and no answer came; the ports `before` were there.
    pub(in crate::openstack) fn note(
        &self,
        server: &str,
        network: &str,
        before: Vec<String>,
        now: Duration,
    ) {
        let mut servers = self.servers();
        servers.retain(|_, lost| {
            lost.asked.retain(|(_, _, at)| now.saturating_sub(*at) < MADE_IN);
            lost.made.retain(|(_, at)| now.saturating_sub(*at) < KNOWN_FOR);
            !lost.asked.is_empty() || !lost.made.is_empty()
        });
        let lost = servers.entry(server.to_owned()).or_default();
        lost.asked.push((network.to_owned(), before, now));
    }

    /// Those of the ports `there` (port and network, the oldest first) that requests without an answer made: for each
    /// request the first one in its network that was not there before.
    pub(in crate::openstack) fn made(
        &self,
        server: &str,
        there: &[(String, String)],
        now: Duration,
    ) -> Vec<String> {
        let mut servers = self.servers();
        let Some(Lost { asked, made }) = servers.get_mut(server) else { return Vec::new() };
        asked.retain(|(network, before, at)| {
            let new = there.iter().find(|(port, of)| {
                of == network
                    && !before.contains(port)
                    && made.iter().all(|(known, _)| known != port)
            });
            if let Some((port, _)) = new {
                made.push((port.clone(), now));
            }
            new.is_none() && now.saturating_sub(*at) < MADE_IN
        });
        let known = made.iter().map(|(port, _)| port);
        known.filter(|port| there.iter().any(|(is, _)| is == *port)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_new_port_of_the_network_is_ours_once_for_each_request() {
        let lost = LostPlugs::default();
        let (now, minute) = (Duration::from_hours(1), Duration::from_mins(1));
        let there = |ports: &[&str]| -> Vec<(String, String)> {
            ports.iter().map(|port| ((*port).to_owned(), "net".to_owned())).collect()
        };
        assert!(lost.made("s", &there(&["p", "q"]), now).is_empty(), "none was asked for");
        lost.note("s", "net", vec!["p".to_owned()], now);
        assert!(lost.made("s", &there(&["p"]), now).is_empty(), "not there yet");
        assert!(lost.made("t", &there(&["q"]), now).is_empty(), "another server's");
        assert!(lost.made("s", &[("q".to_owned(), "other".to_owned())], now).is_empty());
        assert_eq!(lost.made("s", &there(&["p", "q", "r"]), now + minute), ["q"]);
        assert_eq!(lost.made("s", &there(&["p", "q", "r"]), now + minute), ["q"], "and no other");
        assert!(lost.made("s", &there(&["p"]), now + minute).is_empty(), "it is gone");
        lost.note("s", "net", vec!["p".to_owned(), "q".to_owned()], now);
        let late = lost.made("s", &there(&["p", "q", "late"]), now + MADE_IN);
        assert_eq!(late, ["q", "late"]);
        lost.note("s", "net", Vec::new(), now + KNOWN_FOR * 2);
        assert_eq!(lost.made("s", &there(&["q", "new"]), now + KNOWN_FOR * 2), ["q"]);
    }
}
