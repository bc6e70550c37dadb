//! Names that a mistyped one may mean, for error messages.

/// Names offered at most.
const OFFERED_MAX: usize = 3;

/// The names nearest to `wanted`, quoted, the nearest first; empty if there are none.
pub(crate) fn nearest<'a>(wanted: &str, names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<_> = names.filter(|name| !name.is_empty()).collect();
    names.sort_by_cached_key(|name| (distance(wanted, name), (*name).to_owned()));
    names.dedup();
    let names: Vec<_> = names.iter().take(OFFERED_MAX).map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Edit distance of two texts (Levenshtein), case-insensitive.
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.to_lowercase(), b.to_lowercase());
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, left) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, right) in b.chars().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.chars().count()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_names_come_first() {
        assert_eq!(
            nearest("Hgih", ["Low", "High", "Highest", "Medium"].into_iter()),
            "`High`, `Low`, `Highest`"
        );
        assert_eq!(nearest("a", std::iter::empty()), "");
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "ab"), 2);
    }
}
