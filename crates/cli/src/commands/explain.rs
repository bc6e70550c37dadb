//! `stateward explain`.

use clap::Args;
use serde_json::Value;

use crate::exit::{CliError, Exit};
use crate::presentation::output::{Format, Output, json, yaml};
use crate::presentation::render::explain::{KIND, at, page};
use crate::presentation::terminal;
use crate::select::target;
use crate::verb_context::{ClientCommand, CommandContext};

#[derive(Args)]
#[command(
    after_help = "Examples:\n  stateward explain                   # all kinds\n  stateward explain local.file\n  \
    stateward explain file.mode\n  stateward explain local.file -o json    # with the whole JSON Schema"
)]
pub(crate) struct Explain {
    /// A kind, or a field of one; nothing = all kinds
    #[arg(value_name = "KIND[.FIELD…]")]
    subject: Option<String>,
    #[command(flatten)]
    output: Output,
}

impl ClientCommand for Explain {
    async fn run(self, context: &CommandContext) -> anyhow::Result<Exit> {
        let kinds = context.client.items("/v1/kinds").await?;
        let Some(subject) = &self.subject else {
            context.print_list(&KIND, &kinds, self.output)?;
            return Ok(Exit::Ok);
        };
        let (kind, path) = found(&kinds, subject)?;
        let none =
            || CliError::not_found(format!("{} has no field {}", kind["name"], path.join(".")));
        let schema = at(kind, &path).ok_or_else(none)?;
        let document = if path.is_empty() { kind } else { schema };
        terminal::print(&match self.output.format {
            Format::Table | Format::Wide => page(kind, &path, schema, context.color),
            Format::Json => json(document),
            Format::Yaml => yaml(document),
            Format::Name => (KIND.name)(kind),
        })?;
        Ok(Exit::Ok)
    }
}

/// Splits `subject` into a kind and a field path. Names of kinds contain dots as well, so the longest known one counts.
fn found<'a>(kinds: &'a [Value], subject: &'a str) -> anyhow::Result<(&'a Value, Vec<&'a str>)> {
    let known: Vec<_> = kinds.iter().map(KIND.name).collect();
    let parts: Vec<_> = subject.split('.').collect();
    let mut first = None;
    for length in (1..=parts.len()).rev() {
        let head = parts[..length].join(".");
        match target::kind(&head, &known) {
            Ok(name) => {
                let kind = kinds.iter().find(|kind| kind["name"] == *name);
                return kind
                    .map(|kind| (kind, parts[length..].to_vec()))
                    .ok_or_else(|| CliError::not_found(format!("there is no kind {name}")));
            }
            Err(why) => first = first.or(Some(why)),
        }
    }
    Err(CliError::not_found(first.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_kind_is_separated_from_the_field() {
        let kinds = [json!({ "name": "local.file" }), json!({ "name": "fake.thing" })];
        let names = |subject| {
            let (kind, path) = found(&kinds, subject).unwrap();
            (kind["name"].as_str().unwrap().to_owned(), path)
        };
        assert_eq!(names("local.file"), ("local.file".to_owned(), vec![]));
        assert_eq!(names("local.file.mode"), ("local.file".to_owned(), vec!["mode"]));
        assert_eq!(names("thing._fake.fail"), ("fake.thing".to_owned(), vec!["_fake", "fail"]));
        let error = found(&kinds, "tape.x").expect_err("unknown");
        assert!(error.to_string().contains("no kind tape.x"), "{error}");
    }
}
