//! Random failures, reproducible by their seed.

use std::sync::{Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use stateward_domain::failure::{ErrorClass, Failure};
use stateward_domain::id::ExternalId;

/// Pause that an injected rate limit asks for.
const RATE_LIMIT_MS: u64 = 50;

/// The class called `name`, with the data that a backend would give; `None` if there is no such class.
pub(super) fn class_of(name: &str) -> Option<ErrorClass> {
    let classes = [
        ErrorClass::Transient,
        ErrorClass::RateLimited { after_ms: RATE_LIMIT_MS, scope: String::new() },
        ErrorClass::Ambiguous,
        ErrorClass::Conflict,
        ErrorClass::NotFound,
        ErrorClass::AlreadyExists { external_id: ExternalId("another-thing".to_owned()) },
        ErrorClass::Invalid,
        ErrorClass::Immutable,
        ErrorClass::Unauthorized,
        ErrorClass::Misconfigured,
        ErrorClass::QuotaExceeded,
        ErrorClass::Refused,
        ErrorClass::Exhausted,
        ErrorClass::Bug,
    ];
    classes.into_iter().find(|class| class.name() == name)
}

/// One failure to be injected.
pub(super) struct InjectedFault {
    class: ErrorClass,
    after_change: bool,
}

impl InjectedFault {
    pub(super) const fn new(class: ErrorClass) -> Self {
        Self { class, after_change: false }
    }

    /// Whether the change is carried out and only its reply is lost.
    pub(super) const fn is_after_the_change(&self) -> bool {
        self.after_change
    }

    /// The failure of a call that had no effect. An `Ambiguous` one is reported as a lost reply, because the caller
    /// cannot tell them apart.
    pub(super) fn without_effect(self) -> Failure {
        if self.class == ErrorClass::Ambiguous {
            return self.reply_lost();
        }
        Failure::harmless(self.class, "on_purpose", "failed on purpose")
    }

    /// The failure of a call whose reply was lost.
    pub(super) fn reply_lost(self) -> Failure {
        Failure::doubtful(self.class, "reply_lost", "the reply was lost on purpose")
    }
}

/// Draws failures at a given rate.
pub(super) struct RandomFaults {
    rate: f64,
    classes: Vec<ErrorClass>,
    chance: Mutex<StdRng>,
}

impl RandomFaults {
    pub(super) fn new(rate: f64, classes: &[String], seed: u64) -> Result<Self, String> {
        if !(0.0..=1.0).contains(&rate) {
            return Err("error_rate is not between 0 and 1".to_owned());
        }
        let class =
            |name: &String| class_of(name).ok_or_else(|| format!("errors: no class {name}"));
        let classes = classes.iter().map(class).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { rate, classes, chance: Mutex::new(StdRng::seed_from_u64(seed)) })
    }

    /// The failure of the next call; `None` = it succeeds.
    pub(super) fn draw(&self) -> Option<InjectedFault> {
        if self.rate == 0.0 || self.classes.is_empty() {
            return None;
        }
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        if !chance.random_bool(self.rate) {
            return None;
        }
        let class = self.classes[chance.random_range(0..self.classes.len())].clone();
        let after_change = class == ErrorClass::Ambiguous && chance.random_bool(0.5);
        Some(InjectedFault { class, after_change })
    }
}
