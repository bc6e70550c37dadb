//! The aggregate and its view.

use cqrs_es::event_sink::EventSink;
use cqrs_es::{Aggregate, DomainEvent, EventEnvelope, View};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A request.
pub(crate) enum Command {
    Create { name: String, desired: Value },
    Change { desired: Value },
}

/// Why a request has no event.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refused {
    #[error("it exists")]
    Exists,
    #[error("it does not exist")]
    Missing,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Event {
    Created { name: String, desired: Value },
    Changed { desired: Value },
}

impl DomainEvent for Event {
    fn event_type(&self) -> String {
        match self {
            Self::Created { .. } => "Created".to_owned(),
            Self::Changed { .. } => "Changed".to_owned(),
        }
    }

    fn event_version(&self) -> String {
        "1.0".to_owned()
    }
}

/// A declared thing.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Thing {
    exists: bool,
    desired: Value,
}

impl Aggregate for Thing {
    const TYPE: &'static str = "thing";
    type Command = Command;
    type Event = Event;
    type Error = Refused;
    type Services = ();

    async fn handle(
        &mut self,
        command: Command,
        (): &(),
        sink: &EventSink<Self>,
    ) -> Result<(), Refused> {
        let event = match command {
            Command::Create { .. } if self.exists => return Err(Refused::Exists),
            Command::Change { .. } if !self.exists => return Err(Refused::Missing),
            Command::Create { name, desired } => Event::Created { name, desired },
            Command::Change { desired } => Event::Changed { desired },
        };
        sink.write(event, self).await;
        Ok(())
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Created { desired, .. } => (self.exists, self.desired) = (true, desired),
            Event::Changed { desired } => self.desired = desired,
        }
    }
}

/// The view.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ThingView {
    name: String,
    desired: Value,
    changes: u64,
}

impl View<Thing> for ThingView {
    fn update(&mut self, event: &EventEnvelope<Thing>) {
        match &event.payload {
            Event::Created { name, desired } => {
                (self.name, self.desired) = (name.clone(), desired.clone());
            }
            Event::Changed { desired } => {
                self.desired = desired.clone();
                self.changes += 1;
            }
        }
    }
}
