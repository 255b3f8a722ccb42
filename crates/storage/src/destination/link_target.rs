//! Where the target of a symbolic link leads, as far as its text tells.

/// What the text of a target tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// Below the root, whatever the names in it turn out to be.
    ///
    /// The target first climbs (no further than the root) and then only descends. Climbing starts
    /// in the link's own directory, which is real, and a name below it is real, or a link of which
    /// the same holds.
    Inside,
    /// A `..` stands behind a name. If that name is a link, `..` is the parent of what it leads to,
    /// so only the file system can tell. The first `checked` bytes of the target end behind its
    /// last `..`: those decide, since what follows only descends.
    Undecided {
        /// A length in bytes.
        checked: usize,
    },
    /// Out of the root.
    Leaves,
}

/// Places the target of a link that lies `depth` directories below the root.
pub(super) fn reach(depth: usize, target: &[u8]) -> Reach {
    if target.starts_with(b"/") {
        return Reach::Leaves;
    }
    let mut level = depth;
    let mut descended = false;
    let mut checked = None;
    let mut end = 0;
    for part in target.split(|&byte| byte == b'/') {
        end += part.len();
        match part {
            b"" | b"." => {}
            b".." => {
                let Some(above) = level.checked_sub(1) else {
                    return Reach::Leaves;
                };
                level = above;
                if descended {
                    checked = Some(end);
                }
            }
            _ => {
                level += 1;
                descended = true;
            }
        }
        end += 1;
    }
    checked.map_or(Reach::Inside, |checked| Reach::Undecided { checked })
}

#[cfg(test)]
mod tests {
    use packhorse_protocol::escape::Escaped;

    use super::*;

    #[test]
    fn targets_are_placed() {
        let undecided = |checked| Reach::Undecided { checked };
        let cases: &[(usize, &[u8], Reach)] = &[
            (0, b"a", Reach::Inside),
            (0, b"./a//b/.", Reach::Inside),
            (0, b".", Reach::Inside),
            (0, b"..", Reach::Leaves),
            (0, b"../", Reach::Leaves),
            (0, b"./../a", Reach::Leaves),
            (1, b"..", Reach::Inside),
            (1, b"../a/b", Reach::Inside),
            (1, b"../../a", Reach::Leaves),
            (2, b".././../a", Reach::Inside),
            (0, b"/", Reach::Leaves),
            (3, b"/etc/passwd", Reach::Leaves),
            (0, b"a/..", undecided(4)),
            (0, b"a/../b", undecided(4)),
            (0, b"a/b/../../c/d", undecided(9)),
            (0, b"a/../..", Reach::Leaves),
            (0, b"a/../../a", Reach::Leaves),
            (1, b"a/../../b/../c", undecided(12)),
            (0, b"...", Reach::Inside),
            (0, b"..a/b", Reach::Inside),
        ];
        for (depth, target, expected) in cases {
            assert_eq!(
                reach(*depth, target),
                *expected,
                "{} at depth {depth}",
                Escaped(target)
            );
        }
    }
}
