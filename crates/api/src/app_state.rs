//! What every handler works with.

use std::sync::Arc;

use stateward_domain::id::Position;
use stateward_engine::Engine;

use crate::auth::admin_token::AdminToken;
use crate::limits::{LimitSettings, Limits};
use crate::sse::hub::Hub;

/// Renders the histograms that were recorded so far, in Prometheus' text format.
pub type Histograms = Arc<dyn Fn() -> String + Send + Sync>;

/// What an [`App`] is made of.
pub struct AppParts {
    /// The engine.
    pub engine: Engine,
    /// The first administrator's token.
    pub admin: AdminToken,
    /// The log's head when the process started.
    pub head_at_start: Position,
    /// How much is served at once.
    pub limits: LimitSettings,
    /// See [`Histograms`].
    pub histograms: Histograms,
}

/// The interface's side of the engine. Cheap to clone.
#[derive(Clone)]
pub struct AppState {
    /// The engine.
    pub engine: Engine,
    /// The first administrator's token.
    pub admin: Arc<AdminToken>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) histograms: Histograms,
    /// The log's head when the process started: ready means that every projection got there.
    pub head_at_start: Position,
}

impl AppState {
    /// Everything that handlers need.
    #[must_use]
    pub fn new(parts: AppParts) -> Self {
        let AppParts { engine, admin, head_at_start, limits, histograms } = parts;
        let limits = Arc::new(Limits::new(limits));
        let (admin, hub) = (Arc::new(admin), Arc::new(Hub::new()));
        Self { engine, admin, hub, limits, histograms, head_at_start }
    }
}
