//! The processes that share the store.

use std::collections::{BTreeMap, BTreeSet};

use stateward_domain::id::BackendName;
use stateward_domain::ports::cluster::Member;

use super::Engine;
use crate::error::QueryError;

impl Engine {
    /// Waits until the changes of namespaces and tokens that are in the log are in force in every live process, and its
    /// reloads are done there, or until the others refuse issued tokens because they do not know whether they are; false
    /// when one did not report.
    ///
    /// # Errors
    /// [`QueryError::Store`].
    pub async fn in_force_everywhere(&self) -> Result<bool, QueryError> {
        let membership = self.membership();
        if !membership.is_shared() {
            return Ok(true);
        }
        let head = self.log().head().await?;
        Ok(membership.seen_by_all(head).await)
    }

    /// Backends that live processes have configured differently.
    #[must_use]
    pub fn differing_backends(&self) -> BTreeSet<BackendName> {
        differing(&self.membership().members())
    }
}

fn differing(members: &[Member]) -> BTreeSet<BackendName> {
    let mut digests: BTreeMap<&BackendName, BTreeSet<&str>> = BTreeMap::new();
    for (name, digest) in members.iter().flat_map(|member| &member.backends) {
        digests.entry(name).or_default().insert(digest);
    }
    digests.retain(|_, digests| digests.len() > 1);
    digests.into_keys().cloned().collect()
}

#[cfg(test)]
mod tests {
    use stateward_domain::id::Position;
    use stateward_domain::ports::cluster::{NodeId, Role};
    use stateward_domain::ports::member_report::Report;
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_backend_differs_when_two_members_have_it_with_other_digests() {
        let member = |backends: &[(&str, &str)]| Member {
            id: NodeId(Uuid::nil()),
            name: String::new(),
            role: Role::All,
            version: String::new(),
            knows: 1,
            seen: Position::START,
            backends: backends
                .iter()
                .map(|(name, digest)| (BackendName::from(*name), (*digest).to_owned()))
                .collect(),
            observe_only: false,
            revision: 0,
            report: Report::default(),
        };
        let members = [
            member(&[("a", "1"), ("b", "1")]),
            member(&[("b", "2"), ("c", "3")]),
            member(&[("c", "3")]),
        ];
        assert_eq!(differing(&members), BTreeSet::from([BackendName::from("b")]));
        assert!(differing(&[]).is_empty());
    }
}
