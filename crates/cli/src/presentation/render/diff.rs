//! A unified diff, like `diff -u`.

use similar::{ChangeTag, TextDiff};

use crate::presentation::output::color::{Tone, bold};

/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// Two forms of one entity.
#[derive(Debug)]
pub(crate) struct Difference {
    pub(crate) label: String,
    pub(crate) old_name: &'static str,
    pub(crate) new_name: &'static str,
    pub(crate) old: String,
    pub(crate) new: String,
}

impl Difference {
    pub(crate) fn differs(&self) -> bool {
        self.old != self.new
    }
}

/// The changed lines with their context; empty when nothing differs.
pub(crate) fn unified(difference: &Difference, color: bool) -> String {
    if !difference.differs() {
        return String::new();
    }
    let Difference { label, old_name, new_name, old, new } = difference;
    let diff = TextDiff::from_lines(old.as_str(), new.as_str());
    let mut lines = vec![
        bold(&format!("--- {label} ({old_name})"), color),
        bold(&format!("+++ {label} ({new_name})"), color),
    ];
    for hunk in diff.unified_diff().context_radius(CONTEXT).iter_hunks() {
        lines.push(hunk.header().to_string());
        for change in hunk.iter_changes() {
            let (sign, tone) = match change.tag() {
                ChangeTag::Delete => ('-', Tone::Bad),
                ChangeTag::Insert => ('+', Tone::Good),
                ChangeTag::Equal => (' ', Tone::Plain),
            };
            let line = change.value().trim_end_matches('\n');
            lines.push(tone.paint(&format!("{sign}{line}"), color));
        }
    }
    lines.join("\n") + "\n"
}
