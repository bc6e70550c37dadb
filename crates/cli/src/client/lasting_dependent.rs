//! The dependent that keeps an entity from being deleted, and stays.

use serde_json::Value;

use super::entity_json::{condition, label};
use super::{Client, Request};

/// Dependents that are read at most.
const DEPENDENTS_MAX: usize = 50;
/// States of an entity that nothing is to be done to: it stays.
const RESTING: &[&str] = &["ok", "erred"];

/// Member that [`Client::wait_for_operation`] adds to an entity: the dependent that keeps it.
pub(crate) const KEPT_BY: &str = "kept_by";

/// Whether an entity that is to be deleted waits for another entity.
fn waits_for_dependent(entity: &Value) -> bool {
    let blocked = condition(entity, "blocked");
    let in_use = blocked["status"] == true && blocked["reason"] == "InUse";
    // Objects outside of the log have another class: they go without us.
    in_use && entity["error"]["class"] == "in_use"
}

impl Client {
    /// The dependent that blocks the deletion of `entity` and is itself neither deleted nor changed; `None` = there is
    /// none, so that the deletion goes on by itself.
    ///
    /// # Errors
    /// [`Problem`](super::Problem), [`Unreachable`](super::Unreachable).
    pub(super) async fn lasting_dependent(&self, entity: &Value) -> anyhow::Result<Option<String>> {
        if !waits_for_dependent(entity) {
            return Ok(None);
        }
        let path = format!("/v1/entities/{}", entity["id"].as_str().unwrap_or_default());
        let implicit = self.send(&Request::get(path).query("implicit", "true")).await?;
        let all = [entity, &implicit].map(|entity| entity["referenced_by"].as_array());
        let ids = all.into_iter().flatten().flatten().filter_map(|it| it["id"].as_str());
        for id in ids.take(DEPENDENTS_MAX) {
            let dependent = self.send(&Request::get(format!("/v1/entities/{id}"))).await?;
            if RESTING.iter().any(|state| dependent["state"] == *state) {
                return Ok(Some(label(&dependent)));
            }
        }
        Ok(None)
    }
}
