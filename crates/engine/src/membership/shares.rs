//! How a limit is divided among members.

/// The part of `limit` that the member with `rank` of `count` has. The parts of all ranks add up to `limit`; what does
/// not divide goes to ranks that differ by `name`, so that one member does not get all remainders.
pub(super) fn share(limit: usize, name: &str, rank: usize, count: usize) -> usize {
    if count == 0 {
        return 0;
    }
    let remainder = limit % count;
    let rotated = (rank + rotation(name, count)) % count;
    limit / count + usize::from(rotated < remainder)
}

/// Equal in every process of any version.
fn rotation(name: &str, count: usize) -> usize {
    name.bytes().fold(0, |sum, byte| (sum * 31 + usize::from(byte)) % count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_of_all_members_add_up_to_the_limit() {
        for limit in 0..40 {
            for count in 1..8 {
                for name in ["local", "cloud", "b", ""] {
                    let shares: Vec<_> =
                        (0..count).map(|rank| share(limit, name, rank, count)).collect();
                    assert_eq!(shares.iter().sum::<usize>(), limit, "{limit} {name} {count}");
                    let (least, most) = (shares.iter().min(), shares.iter().max());
                    assert!(most.unwrap() - least.unwrap() <= 1, "{shares:?}");
                }
            }
        }
        assert_eq!(share(5, "b", 0, 0), 0);
    }

    #[test]
    fn remainders_of_several_backends_go_to_different_members() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
        let lucky = |name: &&str| (0..3).position(|rank| share(1, name, rank, 3) == 1).unwrap();
        let ranks: std::collections::BTreeSet<_> = names.iter().map(lucky).collect();
        assert!(ranks.len() > 1, "{ranks:?}");
    }
}
