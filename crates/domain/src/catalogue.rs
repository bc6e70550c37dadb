//! The catalogue of stored events: a number for what a version of this program can read.
//!
//! Invariant: it rises with each new type, and with each new schema version of a type. A type of a later catalogue is
//! appended only once every process that shares the log reads it, so none of them stops at it.

/// The catalogue of this version.
pub const NEWEST: u32 = FIRST;

/// The first catalogue: that of every type which no later one brought.
pub const FIRST: u32 = 1;

/// Types that came later: stored name, schema version, and the catalogue that brought them.
const LATER: &[(&str, u32, u32)] = &[];

/// The catalogue that brought `event_type` in `schema_version`.
#[must_use]
pub fn of(event_type: &str, schema_version: u32) -> u32 {
    let later =
        LATER.iter().find(|(name, version, _)| *name == event_type && *version == schema_version);
    later.map_or(FIRST, |(.., catalogue)| *catalogue)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::AccessEvent;
    use crate::backend::BackendEvent;
    use crate::entity::EntityEvent;
    use crate::system::SystemEvent;

    /// Stored types of the first catalogue, each in schema version 1. No other is added: a new one belongs to [`LATER`].
    const FIRST_TYPES: usize = 50;

    type Known = fn(&str, u32) -> bool;

    /// Every type and schema version that this version reads.
    fn readable() -> Vec<(&'static str, u32)> {
        let all: [(&[&str], Known); 4] = [
            (EntityEvent::NAMES, EntityEvent::known),
            (BackendEvent::NAMES, BackendEvent::known),
            (AccessEvent::NAMES, AccessEvent::known),
            (SystemEvent::NAMES, SystemEvent::known),
        ];
        let versions = |(names, known): (&'static [&'static str], Known)| {
            names.iter().flat_map(move |name| {
                (1..100)
                    .filter(move |version| known(name, *version))
                    .map(|version| (*name, version))
            })
        };
        all.into_iter().flat_map(versions).collect()
    }

    #[test]
    fn a_new_type_or_schema_version_raises_the_catalogue() {
        let readable = readable();
        let first: Vec<_> =
            readable.iter().filter(|(name, version)| of(name, *version) == FIRST).collect();
        assert_eq!(first.len(), FIRST_TYPES, "name each new one in LATER: {first:?}");
        let newest = readable.iter().map(|(name, version)| of(name, *version)).max();
        assert_eq!(newest, Some(NEWEST));
    }
}
