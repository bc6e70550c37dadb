//! What every handler works with.

use std::sync::Arc;

use stateward_domain::access::Role;
use stateward_domain::id::{Namespace, Position};
use stateward_engine::Engine;
use stateward_engine::access::DEFAULT_NAMESPACE;

use crate::auth::{AdminToken, Caller};
use crate::problem::Problem;
use crate::sse::Hub;

/// The interface's side of the engine. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The engine.
    pub engine: Engine,
    /// The first administrator's token.
    pub admin: Arc<AdminToken>,
    pub(crate) hub: Arc<Hub>,
    /// The log's head when the process started: ready means that every projection got there.
    pub head_at_start: Position,
}

impl App {
    /// Everything that handlers need.
    #[must_use]
    pub fn new(engine: Engine, admin: AdminToken, head_at_start: Position) -> Self {
        Self { engine, admin: Arc::new(admin), hub: Arc::new(Hub::new()), head_at_start }
    }

    /// The namespace called `name`, for a caller that may look into it; `default` when none is named.
    pub(crate) fn namespace(
        &self,
        caller: &Caller,
        name: Option<&str>,
    ) -> Result<Namespace, Problem> {
        let name = Namespace::from(name.unwrap_or(DEFAULT_NAMESPACE));
        let exists = self.engine.access().namespace(&name).is_some();
        if exists && caller.may(Role::Viewer, &name) {
            return Ok(name);
        }
        Err(Problem::unprocessable(
            "unknown-namespace",
            "there is no such namespace, or not for you",
        )
        .at("/namespace", "is not known"))
    }
}
