//! Whether an object may be replaced: deleted, and created anew.

use crate::entity::aggregate::Entity;
use crate::entity::state::{DeletionPolicy, ManagementPolicy, ReplacePolicy, Settings};
use crate::failure::{ErrorClass, Failure};

/// Why an object must not be replaced. Reads as the end of a sentence about what cannot change in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Irreplaceable {
    /// The entity is `observe_only`.
    #[error("replacing is refused: the entity is observe_only")]
    ObserveOnly,
    /// A replacement deletes, and the entity is protected.
    #[error(
        "replacing is refused: it deletes the object, and the entity is protected from deletion"
    )]
    Protected,
    /// A replacement deletes, and the deletion policy is `orphan`.
    #[error("replacing is refused: it deletes the object, and deletion_policy is orphan")]
    Orphan,
    /// Neither the settings nor the change allow it.
    #[error(
        "replacing the object would do it: allow it with replace: allowed, or for one change with --replace (?replace=true)"
    )]
    NotAllowed,
}

impl Settings {
    /// Whether the object may be replaced; `once` = the change itself allows it.
    ///
    /// # Errors
    /// The reason against it. What protects the object from deletion outweighs any permission.
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
    /// The reason against it.
    pub fn replaceable(&self) -> Result<(), Irreplaceable> {
        self.manifest.settings.replaceable(self.replace_once)
    }

    /// Whether it is erred because a field cannot change in place.
    #[must_use]
    pub fn wants_replacement(&self) -> bool {
        let refused = |error: &Failure| error.class == ErrorClass::Immutable;
        self.trouble.erred && self.error.as_ref().is_some_and(refused)
    }

    /// Whether the old object is proved absent and the new one is not known yet.
    #[must_use]
    pub const fn is_between_halves(&self) -> bool {
        self.replacing && !self.may_exist()
    }
}
