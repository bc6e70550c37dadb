//! The terminal: data goes to standard output, messages, questions and progress to standard error.

use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::Stop;

/// Data: to standard output, with a line break at the end.
///
/// # Errors
/// When nobody takes it.
pub(crate) fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let break_after = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let written = write!(out, "{text}{break_after}").and_then(|()| out.flush());
    written.map_err(|error| match error.kind() {
        // `| head` has seen enough.
        std::io::ErrorKind::BrokenPipe => Stop::unread(),
        _ => anyhow::Error::new(error).context("cannot write to standard output"),
    })
}

/// A message: to standard error.
#[expect(clippy::print_stderr, reason = "messages do not mix with data")]
pub(crate) fn note(text: &str) {
    eprintln!("{text}");
}

/// What went wrong with one thing of many, in one line.
pub(crate) fn complain(what: &str, error: &anyhow::Error) {
    note(&format!("stateward: {what}: {}", crate::one_line(error)));
}

/// Asks a person; what is not `y` or `yes` is no.
///
/// # Errors
/// A usage error where there is no terminal to ask at.
pub(crate) fn confirm(question: &str) -> anyhow::Result<bool> {
    if !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
        return Err(Stop::usage("nobody is there to be asked: say --yes if you mean it"));
    }
    Ok(ask(question, &mut std::io::stdin().lock(), &mut std::io::stderr().lock())?)
}

fn ask(question: &str, from: &mut impl BufRead, to: &mut impl Write) -> std::io::Result<bool> {
    write!(to, "{question} [y/N] ")?;
    to.flush()?;
    let mut answer = String::new();
    from.read_line(&mut answer)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

/// A bar on standard error, if that is a terminal; else nothing is drawn.
pub(crate) fn progress(what: &str, total: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let template = "{msg} {wide_bar} {human_pos}/{human_len} {elapsed}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        for (answer, expected) in [
            ("y\n", true),
            ("YES\n", true),
            ("\n", false),
            ("", false),
            ("yess\n", false),
            ("n\n", false),
        ] {
            let mut asked = Vec::new();
            let meant =
                ask("delete these 2 entities?", &mut answer.as_bytes(), &mut asked).unwrap();
            assert_eq!(meant, expected, "{answer:?}");
            assert_eq!(asked, b"delete these 2 entities? [y/N] ");
        }
    }
}
