//! Stored names of the control streams' events.

/// Gives the events of a control stream their stored names, `category.<snake>`, all of schema version 1. One list is
/// for writing and for reading: a name that only one of them had would stop every projection.
macro_rules! stored_names_of_control_events {
    ($event:ident in $category:literal: $($variant:ident => $name:literal;)*) => {
        impl $event {
            /// Stored name.
            #[must_use]
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$variant { .. } => concat!($category, ".", $name),)* }
            }

            /// When it happened.
            #[must_use]
            pub const fn at(&self) -> $crate::time::Timestamp {
                match self { $(Self::$variant { at, .. } => *at,)* }
            }

            /// Whether this version can decode the stored type at that schema version.
            #[must_use]
            pub fn known(event_type: &str, schema_version: u32) -> bool {
                schema_version == 1
                    && matches!(event_type, $(concat!($category, ".", $name))|*)
            }

            /// All stored names.
            #[cfg(test)]
            pub(crate) const NAMES: &'static [&'static str] =
                &[$(concat!($category, ".", $name)),*];
        }

        impl cqrs_es::DomainEvent for $event {
            fn event_type(&self) -> String {
                self.name().to_owned()
            }

            fn event_version(&self) -> String {
                "1".to_owned()
            }
        }
    };
}

pub(crate) use stored_names_of_control_events;
