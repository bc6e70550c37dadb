//! The processes that share the store.

use std::collections::{BTreeMap, BTreeSet};

use stateward_domain::id::{BackendName, Position, Version};
use stateward_domain::ports::cluster::Member;

use super::Engine;
use crate::error::QueryError;

/// A process that did not carry out a reload as the one that was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedReload {
    /// Its name.
    pub node: String,
    /// Why, in one line without secrets.
    pub error: String,
}

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

    /// Waits as [`in_force_everywhere`](Self::in_force_everywhere) until every live process is done with the reload that is
    /// recorded at `version` of the system stream; returns the other processes in which it is not in force as it is here,
    /// in the order in which they joined.
    ///
    /// # Errors
    /// [`QueryError::Store`]: nothing is known of the others.
    pub async fn failed_reloads(&self, version: Version) -> Result<Vec<FailedReload>, QueryError> {
        let membership = self.membership();
        if !membership.is_shared() {
            return Ok(Vec::new());
        }
        let head = self.log().head().await?;
        membership.seen_by_all(head).await;
        let all = self.inner.backends.all();
        let digests = all.iter().map(|(name, it)| (name.clone(), it.settings.digest.clone()));
        let mut others = membership.members();
        others.retain(|member| member.id != membership.id());
        Ok(failed(&others, &digests.collect(), head, version))
    }

    /// Backends that live processes have configured differently.
    #[must_use]
    pub fn differing_backends(&self) -> BTreeSet<BackendName> {
        differing(&self.membership().members())
    }
}

/// Which of the `others` are not done with what is recorded up to `head`, failed in the reload at `version`, or have a
/// backend that is here with another digest than that in `digests`.
fn failed(
    others: &[Member],
    digests: &BTreeMap<BackendName, String>,
    head: Position,
    version: Version,
) -> Vec<FailedReload> {
    let error = |member: &Member| {
        if !member.seen.includes(head) {
            return Some("it has not reported that it reloaded".to_owned());
        }
        let reload = member.report.reload.as_ref().filter(|reload| reload.version >= version);
        if let Some(error) = reload.and_then(|reload| reload.error.clone()) {
            return Some(error);
        }
        let differs = |(name, digest): &(&BackendName, &String)| {
            digests.get(*name).is_some_and(|here| here != *digest)
        };
        let names = member.backends.iter().filter(differs).map(|(name, _)| name.as_str());
        let names: Vec<_> = names.collect();
        (!names.is_empty()).then(|| format!("its configuration differs: {}", names.join(", ")))
    };
    let failed = |member: &Member| {
        error(member).map(|error| FailedReload { node: member.name.clone(), error })
    };
    others.iter().filter_map(failed).collect()
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
    use stateward_domain::ports::cluster::{NodeId, Role};
    use stateward_domain::ports::member_report::{MemberReport, ReloadOutcome};
    use uuid::Uuid;

    use super::*;

    fn member(backends: &[(&str, &str)]) -> Member {
        let backends =
            backends.iter().map(|(name, it)| (BackendName::from(*name), (*it).to_owned()));
        Member {
            id: NodeId(Uuid::nil()),
            name: "n".to_owned(),
            role: Role::All,
            version: String::new(),
            knows: 1,
            seen: Position::START,
            backends: backends.collect(),
            observe_only: false,
            revision: 0,
            report: MemberReport::default(),
        }
    }

    #[test]
    fn a_member_failed_that_is_not_done_says_so_or_has_another_configuration() {
        let head = Position { epoch: 1, major: 0, minor: 7 };
        let digests = BTreeMap::from([(BackendName::from("a"), "1".to_owned())]);
        let reported = |version, error: Option<&str>, backends| {
            let reload =
                ReloadOutcome { version: Version(version), error: error.map(str::to_owned) };
            let report = MemberReport { reload: Some(reload), ..MemberReport::default() };
            Member { seen: head, report, ..member(backends) }
        };
        for (one, expected) in [
            (member(&[("a", "1")]), Some("it has not reported that it reloaded")),
            (Member { seen: head, ..member(&[("a", "1")]) }, None),
            (reported(5, None, &[("a", "1")]), None),
            (reported(5, Some("no file"), &[("a", "2")]), Some("no file")),
            (reported(6, Some("no file"), &[("a", "1")]), Some("no file")),
            // Of a reload before this one, which it began with.
            (reported(4, Some("no file"), &[("a", "1")]), None),
            (reported(5, None, &[("a", "2"), ("b", "1")]), Some("its configuration differs: a")),
            (reported(5, None, &[("b", "1")]), None),
        ] {
            let node = "n".to_owned();
            let expected = expected.map(|error| FailedReload { node, error: error.to_owned() });
            assert_eq!(
                failed(std::slice::from_ref(&one), &digests, head, Version(5)),
                Vec::from_iter(expected)
            );
        }
    }

    #[test]
    fn a_backend_differs_when_two_members_have_it_with_other_digests() {
        let members = [
            member(&[("a", "1"), ("b", "1")]),
            member(&[("b", "2"), ("c", "3")]),
            member(&[("c", "3")]),
        ];
        assert_eq!(differing(&members), BTreeSet::from([BackendName::from("b")]));
        assert!(differing(&[]).is_empty());
    }
}
