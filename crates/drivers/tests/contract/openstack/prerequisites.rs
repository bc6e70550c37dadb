//! Objects that a kind needs before it can be created, made by the same driver.

use std::sync::Arc;

use serde_json::{Value, json};
use stateward_domain::id::ExternalId;
use stateward_domain::ports::driver::Driver;

use super::subject;
use crate::kind_under_test::Subject;

/// Prerequisite objects; deleted in reverse order.
pub(crate) struct Env {
    driver: Arc<dyn Driver>,
    made: Vec<(Subject, ExternalId)>,
}

impl Env {
    pub(crate) fn new(driver: &Arc<dyn Driver>) -> Self {
        Self { driver: driver.clone(), made: Vec::new() }
    }

    /// Creates an object; returns its id.
    pub(crate) async fn create(&mut self, kind: &str, desired: Value) -> String {
        let subject = subject(&self.driver, kind, vec![desired.clone()], Value::Null);
        let id = subject.create(&desired).await.unwrap();
        self.made.push((subject, id.clone()));
        id.0
    }

    /// A network and a subnet of it.
    pub(crate) async fn network(&mut self, cidr: &str) -> (String, String) {
        let network = self.create("openstack.network", json!({"name": "stateward-ground"})).await;
        let desired = json!({"network_id": network, "cidr": cidr});
        let subnet = self.create("openstack.subnet", desired).await;
        (network, subnet)
    }

    /// The id of the first of a kind.
    pub(crate) fn first(&self, kind: &str) -> String {
        let first = self.made.iter().find(|(subject, _)| subject.kind.as_str() == kind);
        first.expect("it was laid").1.0.clone()
    }

    /// Deletes all objects. A failed test may have left dependents, which block that; then the leftover is reported.
    pub(crate) async fn clear(&mut self) {
        while let Some((subject, id)) = self.made.pop() {
            if let Err(failure) = subject.delete(&id).await {
                println!("{} {id} was left behind: {failure}", subject.kind);
            }
        }
    }
}
