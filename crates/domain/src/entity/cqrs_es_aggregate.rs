//! The aggregate as the framework `cqrs-es` knows it.

use cqrs_es::{Aggregate, event_sink::EventSink};

use crate::entity::aggregate::Entity;
use crate::entity::command::{Command, Refusal};
use crate::entity::event::EntityEvent;

impl Aggregate for Entity {
    const TYPE: &'static str = "entity";
    type Command = Command;
    type Event = EntityEvent;
    type Error = Refusal;
    type Services = ();

    async fn handle(
        &mut self,
        command: Self::Command,
        _service: &Self::Services,
        sink: &EventSink<Self>,
    ) -> Result<(), Self::Error> {
        for event in self.decide(command.at, &command.intent)? {
            sink.write(event, self).await;
        }
        Ok(())
    }

    fn apply(&mut self, event: Self::Event) {
        self.evolve(&event);
    }
}
