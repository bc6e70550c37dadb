//! Colours and their meaning.

use anstyle::{AnsiColor, Style};

/// The meaning of a coloured text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Tone {
    #[default]
    Plain,
    /// Healthy.
    Good,
    /// In progress.
    Busy,
    /// Needs attention.
    Bad,
}

impl Tone {
    /// The tone of a state.
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

    /// `text` in its colour; unchanged without `color`.
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
