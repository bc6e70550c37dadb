//! Selects the entities that a verb acts on: named one by one, or all that match a filter.

mod filter;
pub(crate) mod target;

use clap::Args;
use clap::builder::NonEmptyStringValueParser;
use serde_json::Value;

use crate::client::{Client, Request, escaped, exit_of};
use crate::exit::{CliError, Exit};
pub(crate) use filter::Filter;
use target::Target;

/// The namespace when none is named.
pub(crate) const DEFAULT_NAMESPACE: &str = "default";

/// The namespace of the named entities.
#[derive(Args, Clone, Debug)]
pub(crate) struct InNamespace {
    /// Namespace
    #[arg(short, long, value_name = "NAME", default_value = DEFAULT_NAMESPACE, value_parser = NonEmptyStringValueParser::new())]
    pub(crate) namespace: String,
}

impl InNamespace {
    /// Checks that a namespace other than the default one exists, before anything in it is named.
    ///
    /// # Errors
    /// It does not exist, or the caller may not see it.
    pub(crate) async fn check(&self, client: &Client) -> anyhow::Result<()> {
        if self.namespace == DEFAULT_NAMESPACE {
            return Ok(());
        }
        check_namespace(client, &self.namespace).await
    }
}

/// Whether an empty selection is allowed.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct AllowEmpty {
    /// End with 0 where nothing is selected
    #[arg(long)]
    allow_empty: bool,
}

impl AllowEmpty {
    /// # Errors
    /// Nothing was selected: a caller who acts on a selection expects that it is not empty.
    pub(crate) fn check(self, selected: &Selected) -> anyhow::Result<()> {
        if self.allow_empty || !selected.is_empty() {
            return Ok(());
        }
        Err(CliError::not_found("nothing is selected; --allow-empty if that may be"))
    }
}

/// Named entities, or all that match.
#[derive(Args, Clone, Debug)]
pub(crate) struct Selection {
    /// What it is about; a kind may be shortened (`file` for `local.file`)
    #[arg(value_name = "KIND|KIND/NAME|ID")]
    targets: Vec<String>,
    #[command(flatten)]
    pub(crate) filter: Filter,
}

/// The selected entities.
pub(crate) struct Selected {
    pub(crate) entities: Vec<Value>,
    /// Named entities that were not found, with the error of each.
    pub(crate) missing: Vec<(String, anyhow::Error)>,
    /// Each entity was named: no confirmation is needed.
    pub(crate) exactly: bool,
}

impl Selected {
    /// Whether nothing was found and nothing named is missing.
    pub(crate) const fn is_empty(&self) -> bool {
        self.entities.is_empty() && self.missing.is_empty()
    }

    /// The exit code for the missing ones.
    pub(crate) fn exit(&self) -> Exit {
        self.missing.iter().map(|(_, error)| exit_of(error)).max().unwrap_or(Exit::Ok)
    }
}

impl Selection {
    /// Whether neither a target nor a filter was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.targets.is_empty() && !self.filter.restricts()
    }

    fn parsed(&self) -> anyhow::Result<Vec<Target>> {
        let targets: Vec<_> = self.targets.iter().map(|text| Target::of(text)).collect();
        let names = targets.iter().any(|target| !matches!(target, Target::Kind(_)));
        if names && (self.filter.narrows() || self.filter.kind.is_some()) {
            return Err(CliError::usage("name entities or select them, not both"));
        }
        Ok(targets)
    }

    /// Whether exactly one entity was named: it is printed by itself and not as a list.
    pub(crate) fn is_single(&self) -> bool {
        matches!(self.targets.as_slice(), [one] if !matches!(Target::of(one), Target::Kind(_)))
    }

    /// The full names of the selected kinds; empty = all.
    ///
    /// # Errors
    /// A kind that is unknown or ambiguous.
    pub(crate) async fn kinds(&self, client: &Client) -> anyhow::Result<Vec<String>> {
        let parsed = self.parsed()?;
        let named = parsed.iter().filter_map(|target| match target {
            Target::Kind(kind) => Some(kind.as_str()),
            Target::Name(..) | Target::Id(_) => None,
        });
        let abbreviations: Vec<_> = named.chain(self.filter.kind.as_deref()).collect();
        if abbreviations.is_empty() {
            return Ok(Vec::new());
        }
        let known = known_kinds(client).await?;
        abbreviations.into_iter().map(|short| full_name(short, &known)).collect()
    }

    /// All entities that were named or match.
    ///
    /// # Errors
    /// A usage error, or the server's problem. A named entity that does not exist is part of the result.
    pub(crate) async fn resolve(&self, client: &Client) -> anyhow::Result<Selected> {
        let targets = self.parsed()?;
        let named: Vec<_> =
            targets.iter().filter(|target| !matches!(target, Target::Kind(_))).cloned().collect();
        let exactly =
            named.len() == targets.len() && !named.is_empty() && !self.filter.all_namespaces;
        let mut selected = Selected { entities: Vec::new(), missing: Vec::new(), exactly };
        for target in named {
            match resolve_target(client, &target, self.filter.namespace()).await {
                Ok(mut entities) => selected.entities.append(&mut entities),
                Err(error) if exit_of(&error) == Exit::NotFound => {
                    selected.missing.push((target_text(&target), error));
                }
                Err(error) => return Err(error),
            }
        }
        let kinds = self.kinds(client).await?;
        for kind in &kinds {
            let mut found = client.list(&self.filter.request(Some(kind)), None).await?;
            selected.entities.append(&mut found);
        }
        if targets.is_empty() && kinds.is_empty() {
            selected.entities = client.list(&self.filter.request(None), None).await?;
        }
        without_repetitions(&mut selected.entities);
        if let Some(name) = self.filter.explicit_namespace()
            && selected.entities.is_empty()
        {
            check_namespace(client, name).await?;
        }
        Ok(selected)
    }
}

fn without_repetitions(entities: &mut Vec<Value>) {
    let mut seen = std::collections::HashSet::new();
    entities.retain(|entity| seen.insert(entity["id"].to_string()));
}

fn target_text(target: &Target) -> String {
    match target {
        Target::Kind(text) | Target::Id(text) => text.clone(),
        Target::Name(kind, name) => format!("{kind}/{name}"),
    }
}

/// The current entity that `text` names in `namespace`.
///
/// # Errors
/// It does not exist, or `text` names a kind.
pub(crate) async fn find_one(
    client: &Client,
    text: &str,
    namespace: &str,
) -> anyhow::Result<Value> {
    let target = Target::of(text);
    if matches!(target, Target::Kind(_)) {
        return Err(CliError::usage(format!("{text} names no entity: say KIND/NAME or an id")));
    }
    let found = resolve_target(client, &target, Some(namespace)).await?;
    found.into_iter().next().ok_or_else(|| CliError::not_found(format!("there is no {text}")))
}

/// The entity that `text` names, else the last deleted one of that name: for verbs that show history.
///
/// # Errors
/// There never was one, or `text` names a kind.
pub(crate) async fn find_one_or_deleted(
    client: &Client,
    text: &str,
    namespace: &str,
) -> anyhow::Result<Value> {
    let missing = match find_one(client, text, namespace).await {
        Err(error) if exit_of(&error) == Exit::NotFound => error,
        found => return found,
    };
    let Target::Name(kind, name) = Target::of(text) else { return Err(missing) };
    let kind = full_name(&kind, &known_kinds(client).await?)?;
    let request = Request::get("/v1/entities")
        .query("kind", kind)
        .query("name", name)
        .query("namespace", namespace)
        .query("state", "deleted");
    // Oldest first.
    client.list(&request, None).await?.pop().ok_or(missing)
}

/// The entities that a name or an id names: one, unless all namespaces are searched.
async fn resolve_target(
    client: &Client,
    target: &Target,
    namespace: Option<&str>,
) -> anyhow::Result<Vec<Value>> {
    let (kind, name) = match target {
        Target::Id(id) => {
            let entity =
                client.send(&Request::get(format!("/v1/entities/{}", escaped(id)))).await?;
            return Ok(vec![entity]);
        }
        Target::Kind(_) => return Ok(Vec::new()),
        Target::Name(kind, name) => (kind, name),
    };
    let kind = full_name(kind, &known_kinds(client).await?)?;
    let request = Request::get("/v1/entities")
        .query("kind", &*kind)
        .query("name", &**name)
        .maybe("namespace", namespace);
    let mut found = client.list(&request, None).await?;
    if found.is_empty() {
        if let Some(name) = namespace {
            check_namespace(client, name).await?;
        }
        let scope = namespace.map_or_else(
            || "in any namespace".to_owned(),
            |name| format!("in namespace {name} (-n names another)"),
        );
        return Err(CliError::not_found(format!("there is no {kind}/{name} {scope}")));
    }
    for entity in &mut found {
        // The list may lag behind; the entity itself never does.
        let id = entity["id"].as_str().unwrap_or_default();
        *entity = client.send(&Request::get(format!("/v1/entities/{id}"))).await?;
    }
    Ok(found)
}

/// Checks that a namespace exists, so that an empty result is not reported for a misspelt namespace.
///
/// # Errors
/// It does not exist, or the caller may not see it.
pub(crate) async fn check_namespace(client: &Client, name: &str) -> anyhow::Result<()> {
    let all = client.items("/v1/namespaces").await?;
    if all.iter().any(|namespace| namespace["name"] == *name) {
        return Ok(());
    }
    Err(CliError::not_found(format!("there is no namespace {name}, or not for you")))
}

/// Names of all kinds.
pub(crate) async fn known_kinds(client: &Client) -> anyhow::Result<Vec<String>> {
    let kinds = client.items("/v1/kinds").await?;
    Ok(kinds.iter().filter_map(|kind| kind["name"].as_str().map(str::to_owned)).collect())
}

fn full_name(short: &str, known: &[String]) -> anyhow::Result<String> {
    target::kind(short, known).map(str::to_owned).map_err(CliError::not_found)
}

#[cfg(test)]
mod tests {
    use super::filter::tests::filter;
    use super::*;

    #[test]
    fn names_and_selectors_do_not_mix() {
        let selection = Selection { targets: vec!["file/a".to_owned()], filter: filter() };
        let error = selection.parsed().expect_err("refused");
        assert_eq!(exit_of(&error), Exit::Usage);
    }
}
