//! A collection of faults: the first ones in full, all of them counted.

use std::collections::HashSet;

use stateward_domain::audit::{Fault, FaultKind};
use stateward_domain::envelope::StreamId;

/// Faults that are kept in full.
const FIRST_MAX: usize = 100;

/// A bounded collection of faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    first: Vec<Fault>,
    count: u64,
    /// Streams with a fault, as `category/id`: their folds prove nothing.
    untrusted: HashSet<String>,
}

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, fault: Fault) {
        self.count += 1;
        if let Some(stream) = &fault.stream {
            self.untrusted.insert(stream.clone());
        }
        // The first faults are kept in full; later ones are only counted.
        if self.first.len() < FIRST_MAX {
            self.first.push(fault);
        }
    }

    /// Adds a fault of `kind` that concerns no stream.
    pub fn general(&mut self, kind: FaultKind, detail: impl Into<String>) {
        self.add(Fault::new(kind, detail));
    }

    /// Marks a stream whose events cannot be trusted, without a fault of its own.
    pub fn mark_untrusted(&mut self, stream: &StreamId) {
        self.untrusted.insert(stream.to_string());
    }

    /// Whether the stream has a fault or is untrusted.
    #[must_use]
    pub fn affects(&self, stream: &str) -> bool {
        self.untrusted.contains(stream)
    }

    /// Number of all faults.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The faults that are kept in full.
    #[must_use]
    pub fn first(&self) -> &[Fault] {
        &self.first
    }

    /// The faults that are kept in full.
    #[must_use]
    pub fn into_first(self) -> Vec<Fault> {
        self.first
    }
}
