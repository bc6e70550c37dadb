//! Errors of arguments in the form of all errors: one line with the next step.

use crate::exit::CliError;

/// `rendered` = the paragraphs that clap prints. The usage is left out: `--help` shows it.
pub(crate) fn in_one_line(rendered: &str) -> anyhow::Error {
    let (mut said, mut next) = (Vec::new(), "try --help".to_owned());
    for paragraph in rendered.trim().split("\n\n").map(str::trim) {
        if let Some(usage) = paragraph.strip_prefix("Usage: ") {
            next = format!("see `{} --help`", verb(usage));
        } else if !paragraph.starts_with("For more information") {
            let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            said.push(line.strip_prefix("error: ").unwrap_or(&line).to_owned());
        }
    }
    said.push(next);
    CliError::usage(said.join("; "))
}

/// The command of a usage line, with its verbs.
fn verb(usage: &str) -> String {
    let word =
        |word: &&str| word.chars().all(|letter| letter.is_ascii_lowercase() || letter == '-');
    let words = usage.split_whitespace().take_while(word).filter(|word| !word.starts_with('-'));
    words.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::*;

    #[test]
    fn each_error_is_one_line_with_the_next_step() {
        let get = Command::new("get").arg(Arg::new("what").required(true).value_name("WHAT"));
        let get = get.arg(Arg::new("form").long("form").value_parser(["json", "yaml"]));
        let root = Command::new("stateward").subcommand(get).subcommand_required(true);
        for (arguments, line) in [
            (
                vec!["stateward", "get"],
                "the following required arguments were not provided: <WHAT>; see `stateward get --help`",
            ),
            (
                vec!["stateward", "get", "x", "--form", "xml"],
                "invalid value 'xml' for '--form <form>' [possible values: json, yaml]; tip: a similar value exists: 'yaml'; try --help",
            ),
            (
                vec!["stateward", "get", "x", "--from", "json"],
                "unexpected argument '--from' found; tip: a similar argument exists: '--form'; see `stateward get --help`",
            ),
        ] {
            let error = root.clone().try_get_matches_from(arguments).expect_err("refused");
            assert_eq!(in_one_line(&error.render().to_string()).to_string(), line);
        }
    }
}
