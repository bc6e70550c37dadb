//! Whether the object may go so that another takes its place.

use crate::entity::aggregate::Entity;
use crate::entity::state::{DeletionPolicy, ManagementPolicy, ReplacePolicy, Settings};
use crate::failure::{ErrorClass, Failure};

/// Why an object is not replaced. Reads as the end of a sentence about what cannot change in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Irreplaceable {
    /// Nothing may change it.
    #[error("replacing is refused: the entity is observe_only")]
    ObserveOnly,
    /// Replacing deletes.
    #[error(
        "replacing is refused: it deletes the object, and the entity is protected from deletion"
    )]
    Protected,
    /// Replacing deletes what is to be left alone at the end.
    #[error("replacing is refused: it deletes the object, and deletion_policy is orphan")]
    Orphan,
    /// Nobody said that it may be.
    #[error(
        "replacing the object would do it: allow it with replace: allowed, or for one change with --replace (?replace=true)"
    )]
    NotAllowed,
}

impl Settings {
    /// Whether the object may be replaced; `once` = the change itself allows it.
    ///
    /// # Errors
    /// What stands against it. No permission outweighs what keeps the object from being deleted.
    pub fn replaceable(&self, once: bool) -> Result<(), Irreplaceable> {
        if self.management_policy == ManagementPolicy::ObserveOnly {
            Err(Irreplaceable::ObserveOnly)
        } else if self.protected {
            Err(Irreplaceable::Protected)
        } else if self.deletion_policy == DeletionPolicy::Orphan {
            Err(Irreplaceable::Orphan)
        } else if once || self.replace == ReplacePolicy::Allowed {
            Ok(())
        } else {
            Err(Irreplaceable::NotAllowed)
        }
    }
}

impl Entity {
    /// Whether its object may be replaced for the newest desired state.
    ///
    /// # Errors
    /// What stands against it.
    pub fn replaceable(&self) -> Result<(), Irreplaceable> {
        self.manifest.settings.replaceable(self.replace_once)
    }

    /// Whether it was given up because it cannot change in place.
    #[must_use]
    pub fn wants_replacement(&self) -> bool {
        let refused = |error: &Failure| error.class == ErrorClass::Immutable;
        self.trouble.erred && self.error.as_ref().is_some_and(refused)
    }

    /// Whether the old object is proved gone and no new one is known: what stands between the halves.
    #[must_use]
    pub const fn is_between_halves(&self) -> bool {
        self.replacing && !self.may_exist()
    }
}
