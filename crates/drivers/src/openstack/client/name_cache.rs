//! Cache of name-to-id lists.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Types and flavors change rarely, and a cached list is used for reading only.
const KEPT: Duration = Duration::from_mins(1);

/// Resources that a desired state may name instead of giving an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::openstack) enum NamedResource {
    Flavor,
    Image,
    Network,
    VolumeType,
}

/// Id and name.
pub(in crate::openstack) type NamePair = (String, String);
/// A list, and the steady time at which it was read.
type Recent = (Duration, Arc<Vec<NamePair>>);

/// The cached lists; at most one for each resource.
#[derive(Default)]
pub(in crate::openstack) struct NameCache(Mutex<HashMap<NamedResource, Recent>>);

impl NameCache {
    /// The list as it was read at most a minute before `now`; `None` = not that recently.
    pub(in crate::openstack) fn recent(
        &self,
        resource: NamedResource,
        now: Duration,
    ) -> Option<Arc<Vec<NamePair>>> {
        let lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (read, list) = lists.get(&resource)?;
        (now.saturating_sub(*read) < KEPT).then(|| Arc::clone(list))
    }

    /// Keeps a list that was read at `now`.
    pub(in crate::openstack) fn keep(
        &self,
        resource: NamedResource,
        list: &Arc<Vec<NamePair>>,
        now: Duration,
    ) {
        let mut lists = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lists.insert(resource, (now, Arc::clone(list)));
    }
}
