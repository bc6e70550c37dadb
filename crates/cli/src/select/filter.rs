//! What an entity has to be like to be selected.

use clap::Args;
use serde_json::Value;

use super::DEFAULT_NAMESPACE;
use crate::client::Request;
use crate::render::entity;

/// Heading of these options in help texts.
const SELECTION: &str = "Selection";

/// What an entity has to be like.
#[derive(Args, Clone, Debug)]
pub(crate) struct Filter {
    /// Namespace [default: default]
    #[arg(help_heading = SELECTION, short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// In all namespaces
    #[arg(help_heading = SELECTION, short = 'A', long)]
    pub(super) all_namespaces: bool,
    /// With this label; may be repeated
    #[arg(help_heading = SELECTION, short = 'l', long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<String>,
    /// Of this kind
    #[arg(help_heading = SELECTION, long, value_name = "KIND")]
    pub(super) kind: Option<String>,
    /// On this backend
    #[arg(help_heading = SELECTION, long, value_name = "NAME")]
    backend: Option<String>,
    /// In this state
    #[arg(help_heading = SELECTION, long, value_name = "STATE")]
    state: Option<String>,
    /// That differ from what is desired
    #[arg(help_heading = SELECTION, long)]
    drifted: bool,
}

fn label(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("a label is KEY=VALUE".to_owned()),
    }
}

impl Filter {
    /// The namespace that lists are about; `None` = all.
    pub(crate) fn place(&self) -> Option<&str> {
        let named = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        (!self.all_namespaces).then_some(named)
    }

    /// Whether entities of several namespaces may be shown.
    pub(crate) const fn is_anywhere(&self) -> bool {
        self.all_namespaces
    }

    /// Whether anything but the namespace's default was asked for.
    pub(super) fn restricts(&self) -> bool {
        self.narrows() || self.kind.is_some() || self.namespace.is_some() || self.all_namespaces
    }

    /// Whether a kind's entities are narrowed down.
    pub(super) fn narrows(&self) -> bool {
        !self.labels.is_empty() || self.backend.is_some() || self.state.is_some() || self.drifted
    }

    pub(super) fn request(&self, kind: Option<&str>) -> Request {
        let drifted = self.drifted.then_some("true");
        Request::get("/v1/entities")
            .maybe("namespace", self.place())
            .maybe("kind", kind)
            .maybe("backend", self.backend.as_deref())
            .maybe("state", self.state.as_deref())
            .maybe("drifted", drifted)
            .each("label", &self.labels)
    }

    /// Whether an entity fits, as the server's list would have it.
    pub(crate) fn fits(&self, kinds: &[String], entity: &Value) -> bool {
        let is = |member: &str, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| entity[member] == wanted)
        };
        let labelled = |label: &String| {
            let (key, value) = label.split_once('=').unwrap_or_default();
            entity["labels"][key] == value
        };
        is("namespace", self.place())
            && is("backend", self.backend.as_deref())
            && is("state", self.state.as_deref())
            && (kinds.is_empty() || kinds.iter().any(|kind| entity["kind"] == **kind))
            && (!self.drifted || entity::condition(entity, "drifted")["status"] == true)
            && self.labels.iter().all(labelled)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;

    /// By a label and a backend.
    pub(in crate::select) fn filter() -> Filter {
        Filter {
            namespace: None,
            all_namespaces: false,
            labels: vec!["team=platform".to_owned()],
            kind: None,
            backend: Some("local".to_owned()),
            state: None,
            drifted: false,
        }
    }

    #[test]
    fn what_is_watched_fits_as_what_is_listed() {
        let entity = json!({
            "kind": "local.file", "namespace": "default", "backend": "local",
            "labels": { "team": "platform" },
        });
        let kinds = ["local.file".to_owned()];
        assert!(filter().fits(&kinds, &entity));
        for (pointer, other) in [("kind", "fake.thing"), ("namespace", "physics"), ("backend", "x")]
        {
            let mut entity = entity.clone();
            entity[pointer] = json!(other);
            assert!(!filter().fits(&kinds, &entity), "{pointer}");
        }
        let unlabelled =
            json!({ "kind": "local.file", "namespace": "default", "backend": "local" });
        assert!(!filter().fits(&kinds, &unlabelled));
    }
}
