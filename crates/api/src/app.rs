//! What every handler works with.

use std::sync::Arc;

use stateward_domain::id::{Namespace, Position};
use stateward_engine::Engine;

use crate::auth::AdminToken;
use crate::problem::Problem;

/// The interface's side of the engine. Cheap to clone.
#[derive(Clone)]
pub struct App {
    /// The engine.
    pub engine: Engine,
    /// Who may come in.
    pub admin: Arc<AdminToken>,
    /// Namespaces that exist.
    pub namespaces: Arc<[Namespace]>,
    /// The log's head when the process started: ready means that every projection got there.
    pub head_at_start: Position,
}

impl App {
    /// The namespace called `name`; `default` when none is named.
    pub(crate) fn namespace(&self, name: Option<&str>) -> Result<Namespace, Problem> {
        let name = Namespace::from(name.unwrap_or("default"));
        if self.namespaces.contains(&name) {
            return Ok(name);
        }
        Err(Problem::unprocessable("unknown-namespace", format!("there is no namespace {name}"))
            .at("/namespace", "is not known"))
    }
}
