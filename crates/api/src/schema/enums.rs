//! Enums of the domain, as the `OpenAPI` document describes them. They exist for the document alone.

use utoipa::ToSchema;

macro_rules! enums {
    ($($(#[$doc:meta])* $name:ident as $component:ident { $($word:ident),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(ToSchema)]
        #[schema(as = $component, rename_all = "snake_case")]
        #[expect(dead_code, reason = "only its schema is used")]
        pub(crate) enum $name { $($word),* }
    )*};
}

enums! {
    /// Where an entity stands.
    StateSchema as StateWord {
        CreationScheduled, Creating, Ok, UpdateScheduled, Updating, DeletionScheduled, Deleting, Deleted, Erred,
    }
    /// What happens to the object when its entity is deleted.
    DeletionSchema as DeletionWord { Delete, Orphan }
    /// What happens when the object differs by itself.
    DriftSchema as DriftWord { Correct, Report, Ignore }
    /// Whether the object may be changed at all.
    ManagementSchema as ManagementWord { Full, ObserveOnly }
    /// Whether the object may go for another when a field has to change that cannot change in place.
    ReplaceSchema as ReplaceWord { Never, Allowed }
    /// Whether the object is there.
    PresenceSchema as PresenceWord { Absent, Unknown, Present }
    /// What a failed call may have done.
    EffectSchema as EffectWord { None, Maybe, Partial }
    /// Where an operation stands.
    OperationSchema as OperationWord { Pending, Running, Succeeded, Failed, Superseded, Cancelled }
    /// What a grant allows.
    RoleSchema as RoleWord { Viewer, Operator, Admin }
    /// What a new configuration means for a backend.
    ChangeSchema as ChangeWord { Added, Changed, Removed, Unchanged }
    /// What happens when an object is gone.
    LostSchema as LostWord { Ask, Recreate, Report }
    /// What is wrong with an event, or with the log.
    FaultSchema as FaultWord {
        File, Unreadable, Position, Version, Stream, Hash, Time, Payload, Claim, View, Checkpoint,
    }
}
