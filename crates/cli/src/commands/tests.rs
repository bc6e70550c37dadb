//! What the help of every verb must contain.

use clap::{Command, CommandFactory};

use super::HELP;
use crate::Arguments;

/// Lines and columns of a small terminal.
const LINES: usize = 30;
const COLUMNS: usize = 100;

fn root() -> Command {
    let mut root = Arguments::command();
    root.build();
    root
}

/// Verbs and the verbs in them, with their whole names.
fn all(command: &Command, prefix: &str, found: &mut Vec<(String, Command)>) {
    for verb in command.get_subcommands().filter(|verb| verb.get_name() != "help") {
        let name = format!("{prefix}{}", verb.get_name());
        found.push((name.clone(), verb.clone()));
        all(verb, &format!("{name} "), found);
    }
}

#[test]
fn arguments_do_not_contradict_each_other() {
    Arguments::command().debug_assert();
}

#[test]
fn the_help_fits_a_screen_and_names_every_verb() {
    let help = root().render_help().to_string();
    assert!(help.lines().count() <= LINES, "{help}");
    let too_long = help.lines().find(|line| line.chars().count() > COLUMNS);
    assert_eq!(too_long, None);
    for verb in root().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = verb.get_name();
        let words: Vec<_> = HELP.split([' ', ',', '\n']).collect();
        assert!(name == "help" || words.contains(&name), "{name} is not in the help");
    }
}

#[test]
fn every_verb_is_explained_with_an_example() {
    let mut verbs = Vec::new();
    all(&root(), "", &mut verbs);
    for (name, mut verb) in verbs {
        assert!(verb.get_about().is_some(), "{name}: no word about it");
        let help = verb.render_long_help().to_string();
        assert!(help.contains(&format!("stateward {name}")), "{name}: no example");
        assert!(help.contains("Example"), "{name}: no example\n{help}");
    }
}

#[test]
fn every_argument_is_explained() {
    let mut verbs = Vec::new();
    all(&root(), "", &mut verbs);
    for (name, verb) in verbs {
        for argument in verb.get_arguments() {
            let positional = argument.is_positional();
            let id = argument.get_id();
            assert!(positional || argument.get_help().is_some(), "{name}: {id} is not explained");
        }
    }
}

#[test]
fn completion_is_written_for_every_shell_and_manuals_for_every_verb() {
    for shell in [clap_complete::Shell::Bash, clap_complete::Shell::Zsh, clap_complete::Shell::Fish]
    {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "stateward", &mut script);
        let script = String::from_utf8(script).unwrap();
        for word in ["describe", "checkpoint", "namespace"] {
            assert!(script.contains(word), "{shell}: nothing of {word}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    clap_mangen::generate_to(Arguments::command(), folder.path()).unwrap();
    for page in ["stateward.1", "stateward-apply.1", "stateward-audit-verify.1"] {
        let text = std::fs::read_to_string(folder.path().join(page)).unwrap();
        assert!(text.contains(".SH NAME"), "{page}");
    }
}
