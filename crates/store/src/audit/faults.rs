//! What is wrong: the first of it in full, all of it by number.

use std::collections::HashSet;

use stateward_domain::audit::{Fault, FaultKind};
use stateward_domain::envelope::StreamId;

/// Faults that are first in full.
const FIRST_MAX: usize = 100;

/// A bounded collection of faults.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    first: Vec<Fault>,
    count: u64,
    /// Streams of which something is wrong, as `category/id`: their folds say nothing.
    untrusted: HashSet<String>,
}

impl Faults {
    /// Adds a fault.
    pub fn add(&mut self, fault: Fault) {
        self.count += 1;
        if let Some(stream) = &fault.stream {
            self.untrusted.insert(stream.clone());
        }
        // Different sorts say more than many of one, and a stream's first fault more than its later ones.
        if self.first.len() < FIRST_MAX {
            self.first.push(fault);
        }
    }

    /// Adds a fault of `kind` that concerns nothing in particular.
    pub fn general(&mut self, kind: FaultKind, detail: impl Into<String>) {
        self.add(Fault::new(kind, detail));
    }

    /// Nothing of `stream` can be first from its events.
    pub fn mark_untrusted(&mut self, stream: &StreamId) {
        self.untrusted.insert(stream.to_string());
    }

    /// Whether something of this stream is wrong.
    #[must_use]
    pub fn affects(&self, stream: &str) -> bool {
        self.untrusted.contains(stream)
    }

    /// How many there are.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// The first of them.
    #[must_use]
    pub fn first(&self) -> &[Fault] {
        &self.first
    }

    /// The first of them.
    #[must_use]
    pub fn into_first(self) -> Vec<Fault> {
        self.first
    }
}
