//! Filters of events: what a reader requests and may see.

use stateward_domain::envelope::{Recorded, StreamId};
use stateward_domain::id::{EntityId, Namespace};

use crate::auth::Caller;
use crate::problem::Problem;
use crate::query_parser::Params;

/// A filter. Empty lists do not restrict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// `None` = all, also events of no namespace.
    namespaces: Option<Vec<Namespace>>,
    types: Vec<String>,
    streams: Vec<String>,
}

impl Filter {
    /// Takes `namespace`, `type` and `entity` out of the query; each may be given several times.
    pub(crate) fn new(caller: &Caller, params: &mut Params) -> Result<Self, Problem> {
        let asked = params.all("namespace");
        let all = || caller.visible_namespaces();
        let namespaces = if asked.is_empty() {
            all()
        } else {
            let one = |name| caller.visible(Some(name)).unwrap_or_default();
            Some(asked.into_iter().flat_map(one).collect())
        };
        let entity = |text: String| {
            let bad = |_| Problem::malformed("bad-parameter", "entity is an id");
            text.parse::<EntityId>().map(|id| StreamId::entity(id).to_string()).map_err(bad)
        };
        let streams = params.all("entity").into_iter().map(entity).collect::<Result<_, _>>()?;
        Ok(Self { namespaces, types: params.all("type"), streams })
    }

    /// Matches events of these types.
    #[cfg(test)]
    pub(super) fn of_types(types: &[&str]) -> Self {
        let types = types.iter().map(|name| (*name).to_owned()).collect();
        Self { namespaces: None, types, streams: Vec::new() }
    }

    /// Whether `event` matches and may be seen.
    pub(crate) fn fits(&self, event: &Recorded) -> bool {
        self.wants(&event.event_type, || event.stream.to_string())
            && self.may_see(|| event.envelope().namespace)
    }

    /// Whether events of this type and stream match.
    pub(super) fn wants(&self, event_type: &str, stream: impl Fn() -> String) -> bool {
        let typed = self.types.is_empty() || self.types.iter().any(|wanted| wanted == event_type);
        typed && (self.streams.is_empty() || self.streams.contains(&stream()))
    }

    /// Whether the reader may see events of this namespace.
    pub(super) fn may_see(&self, namespace: impl Fn() -> Namespace) -> bool {
        self.namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(&namespace()))
    }
}
