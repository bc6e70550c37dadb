//! What colours mean.

use anstyle::{AnsiColor, Style};

/// How a piece of text is meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// As it should be.
    Good,
    /// On its way.
    Busy,
    /// Somebody has to look.
    Bad,
}

impl Tone {
    /// What the word of a state means.
    pub(crate) fn of_state(state: &str) -> Self {
        match state {
            "ok" | "succeeded" => Self::Good,
            "erred" | "failed" => Self::Bad,
            "deleted" | "superseded" | "cancelled" => Self::Plain,
            _ => Self::Busy,
        }
    }

    pub(crate) const fn color(self) -> Option<AnsiColor> {
        match self {
            Self::Plain => None,
            Self::Good => Some(AnsiColor::Green),
            Self::Busy => Some(AnsiColor::Yellow),
            Self::Bad => Some(AnsiColor::Red),
        }
    }

    /// `text` in its colour, if colours are wanted.
    pub(crate) fn paint(self, text: &str, color: bool) -> String {
        match self.color().filter(|_| color) {
            None => text.to_owned(),
            Some(color) => {
                let style = Style::new().fg_color(Some(color.into()));
                format!("{style}{text}{style:#}")
            }
        }
    }
}

/// A heading.
pub(crate) fn bold(text: &str, color: bool) -> String {
    if !color {
        return text.to_owned();
    }
    let style = Style::new().bold();
    format!("{style}{text}{style:#}")
}
