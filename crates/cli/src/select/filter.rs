//! The filter of a selection: namespace, kind, labels, backend, state, drift.

use std::collections::BTreeMap;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::Value;
use stateward_domain::entity::State;
use stateward_domain::selector::{BadSelector, Selector};

use super::DEFAULT_NAMESPACE;
use crate::client::Request;
use crate::client::entity_json::condition;

/// Heading of these options in help texts.
const SELECTION: &str = "Selection";

/// The filter options.
#[derive(Args, Clone, Debug)]
pub(crate) struct Filter {
    /// Namespace [default: default]
    #[arg(help_heading = SELECTION, short, long, value_name = "NAME", conflicts_with = "all_namespaces", value_parser = NonEmptyStringValueParser::new())]
    namespace: Option<String>,
    /// In all namespaces
    #[arg(help_heading = SELECTION, short = 'A', long)]
    pub(super) all_namespaces: bool,
    /// With such labels, like kubectl: a=b, a==b, a!=b, 'a in (b,c)', 'a notin (b,c)', a, '!a', several with commas;
    /// may be repeated
    #[arg(help_heading = SELECTION, short = 'l', long = "selector", value_name = "SELECTOR", value_parser = Labels::parse)]
    selectors: Vec<Labels>,
    /// With this very label, whatever characters its value has; may be repeated
    #[arg(help_heading = SELECTION, long = "label", value_name = "KEY=VALUE", value_parser = label)]
    labels: Vec<String>,
    /// Of this kind
    #[arg(help_heading = SELECTION, long, value_name = "KIND")]
    pub(super) kind: Option<String>,
    /// On this backend
    #[arg(help_heading = SELECTION, long, value_name = "NAME")]
    backend: Option<String>,
    /// In this state
    #[arg(help_heading = SELECTION, long, value_name = "STATE", value_parser = state)]
    state: Option<String>,
    /// That differ from what is desired
    #[arg(help_heading = SELECTION, long)]
    drifted: bool,
}

/// A label selector: its text, and its parsed form.
#[derive(Clone, Debug)]
pub(super) struct Labels {
    text: String,
    selector: Selector,
}

impl Labels {
    pub(super) fn parse(text: &str) -> Result<Self, BadSelector> {
        Ok(Self { text: text.to_owned(), selector: text.parse()? })
    }
}

fn state(text: &str) -> Result<String, String> {
    if State::ALL.iter().any(|state| state.name() == text) {
        return Ok(text.to_owned());
    }
    let names: Vec<_> = State::ALL.iter().map(|state| state.name()).collect();
    Err(format!("a state is one of {}", names.join(", ")))
}

fn label(text: &str) -> Result<String, String> {
    match text.split_once('=') {
        Some((key, _)) if !key.is_empty() => Ok(text.to_owned()),
        _ => Err("a label is KEY=VALUE".to_owned()),
    }
}

impl Filter {
    /// The namespace of the list; `None` = all.
    pub(crate) fn namespace(&self) -> Option<&str> {
        let named = self.namespace.as_deref().unwrap_or(DEFAULT_NAMESPACE);
        (!self.all_namespaces).then_some(named)
    }

    /// The namespace that was named explicitly.
    pub(crate) fn explicit_namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// Whether entities of several namespaces may be selected.
    pub(crate) const fn is_anywhere(&self) -> bool {
        self.all_namespaces
    }

    /// Whether any filter was given.
    pub(super) fn restricts(&self) -> bool {
        self.narrows() || self.kind.is_some() || self.namespace.is_some() || self.all_namespaces
    }

    /// Whether a filter other than kind and namespace was given.
    pub(super) fn narrows(&self) -> bool {
        !self.selectors.is_empty()
            || !self.labels.is_empty()
            || self.backend.is_some()
            || self.state.is_some()
            || self.drifted
    }

    pub(super) fn request(&self, kind: Option<&str>) -> Request {
        let drifted = self.drifted.then_some("true");
        let selectors: Vec<_> = self.selectors.iter().map(|labels| labels.text.clone()).collect();
        Request::get("/v1/entities")
            .maybe("namespace", self.namespace())
            .maybe("kind", kind)
            .maybe("backend", self.backend.as_deref())
            .maybe("state", self.state.as_deref())
            .maybe("drifted", drifted)
            .each("label", &self.labels)
            .each("selector", &selectors)
    }

    /// Whether an entity matches, by the same rules as the server's list.
    pub(crate) fn fits(&self, kinds: &[String], entity: &Value) -> bool {
        let is = |member: &str, wanted: Option<&str>| {
            wanted.is_none_or(|wanted| entity[member] == wanted)
        };
        let labelled = |label: &String| {
            let (key, value) = label.split_once('=').unwrap_or_default();
            entity["labels"][key] == value
        };
        is("namespace", self.namespace())
            && is("backend", self.backend.as_deref())
            && is("state", self.state.as_deref())
            && (kinds.is_empty() || kinds.iter().any(|kind| entity["kind"] == **kind))
            && (!self.drifted || condition(entity, "drifted")["status"] == true)
            && self.labels.iter().all(labelled)
            && self.selectors.iter().all(|labels| labels.selector.matches(&of_entity(entity)))
    }
}

fn of_entity(entity: &Value) -> BTreeMap<String, String> {
    let labels = entity["labels"].as_object().into_iter().flatten();
    labels
        .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
        .collect()
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
            selectors: vec![Labels::parse("tier!=db").expect("a selector")],
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
        let mut database = entity.clone();
        database["labels"]["tier"] = json!("db");
        assert!(!filter().fits(&kinds, &database));
        let unlabelled =
            json!({ "kind": "local.file", "namespace": "default", "backend": "local" });
        assert!(!filter().fits(&kinds, &unlabelled));
    }
}
