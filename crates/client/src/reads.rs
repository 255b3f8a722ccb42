//! The groups that are to be asked for.

use std::collections::VecDeque;

use packhorse_protocol::content::GroupRange;

/// Whoever wants groups.
pub(crate) trait WantsGroups: Clone {
    /// Whether it is their content that is wanted, and not what is said of them.
    fn is_content(&self) -> bool;
}

/// Runs of groups with who wants them, in the order in which they are to be asked for.
///
/// Every answer asks how many there are: a file that is half done may have very many runs.
#[derive(Debug)]
pub(crate) struct Reads<R> {
    runs: VecDeque<(R, GroupRange)>,
    groups: u64,
    /// Runs of which not the content is wanted.
    described: usize,
}

impl<R> Default for Reads<R> {
    fn default() -> Self {
        Self {
            runs: VecDeque::new(),
            groups: 0,
            described: 0,
        }
    }
}

impl<R: WantsGroups> Reads<R> {
    /// Groups in all runs together.
    pub(crate) fn groups(&self) -> u64 {
        self.groups
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &(R, GroupRange)> {
        self.runs.iter()
    }

    pub(crate) fn push_back(&mut self, reader: R, range: GroupRange) {
        self.count_in(&reader, range);
        self.runs.push_back((reader, range));
    }

    pub(crate) fn push_front(&mut self, reader: R, range: GroupRange) {
        self.count_in(&reader, range);
        self.runs.push_front((reader, range));
    }

    /// Takes the first run, of which at most `groups_max` groups; with `content_max` of them if it
    /// is content that is wanted, and with 0 of these the first other run.
    pub(crate) fn take(&mut self, groups_max: u64, content_max: u64) -> Option<(R, GroupRange)> {
        let at = match content_max {
            0 if self.described == 0 => return None,
            0 => self
                .runs
                .iter()
                .position(|(reader, _)| !reader.is_content())?,
            _ => 0,
        };
        let (reader, range) = self.runs.get_mut(at)?;
        let groups = match reader.is_content() {
            true => groups_max.min(content_max),
            false => groups_max,
        };
        let (taken, behind) = range.split_at(groups);
        let reader = reader.clone();
        self.groups -= taken.count();
        if behind.is_empty() {
            self.described -= usize::from(!reader.is_content());
            self.runs.remove(at);
        } else {
            *range = behind;
        }
        Some((reader, taken))
    }

    /// Forgets the runs of those that `keep` does not want.
    pub(crate) fn retain(&mut self, keep: impl Fn(&R) -> bool) {
        self.runs.retain(|(reader, range)| {
            let is_kept = keep(reader);
            if !is_kept {
                self.groups -= range.count();
                self.described -= usize::from(!reader.is_content());
            }
            is_kept
        });
    }

    fn count_in(&mut self, reader: &R, range: GroupRange) {
        self.groups += range.count();
        self.described += usize::from(!reader.is_content());
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A number, and whether it wants content.
    type Asking = (u8, bool);

    impl WantsGroups for Asking {
        fn is_content(&self) -> bool {
            self.1
        }
    }

    #[derive(Debug, Clone)]
    enum Step {
        Push(Asking, u64, bool),
        Take(u64, u64),
        Forget(u8),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let asking = (0..4_u8, any::<bool>());
        let step = prop_oneof![
            (asking, 1..9_u64, any::<bool>())
                .prop_map(|(who, count, front)| { Step::Push(who, count, front) }),
            (1..5_u64, 0..4_u64).prop_map(|(groups, content)| Step::Take(groups, content)),
            (0..4_u8).prop_map(Step::Forget),
        ];
        prop::collection::vec(step, 0..60)
    }

    /// Every group by itself, in a list that is searched from its start.
    #[derive(Default)]
    struct Model(Vec<(Asking, u64)>);

    impl Model {
        /// As many of the first run as may be taken. Each run has numbers that no other has, with a
        /// gap before those of the next.
        fn take(&mut self, groups_max: u64, content_max: u64) -> Vec<(Asking, u64)> {
            let may = |(who, _): &(Asking, u64)| content_max > 0 || !who.1;
            let Some(at) = self.0.iter().position(may) else {
                return Vec::new();
            };
            let (who, start) = self.0[at];
            let most = if who.1 {
                groups_max.min(content_max)
            } else {
                groups_max
            };
            let expected = (0..most).map(|number| (who, start + number));
            let found = self.0[at..].iter().zip(expected);
            let count = found
                .take_while(|(found, expected)| *found == expected)
                .count();
            self.0.drain(at..at + count).collect()
        }
    }

    proptest! {
        #[test]
        fn reads_are_as_a_plain_list_of_groups(steps in steps()) {
            let (mut reads, mut model) = (Reads::default(), Model::default());
            let mut next = 0;
            for step in steps {
                match step {
                    Step::Push(who, count, front) => {
                        let range = GroupRange::new(next, next + count).unwrap();
                        next += count + 1;
                        let groups = range.iter().map(|group| (who, group.get()));
                        if front {
                            reads.push_front(who, range);
                            model.0.splice(0..0, groups);
                        } else {
                            reads.push_back(who, range);
                            model.0.extend(groups);
                        }
                    }
                    Step::Take(groups_max, content_max) => {
                        let taken = reads.take(groups_max, content_max);
                        let taken = taken.map_or_else(Vec::new, |(who, range)| {
                            range.iter().map(|group| (who, group.get())).collect()
                        });
                        prop_assert_eq!(taken, model.take(groups_max, content_max));
                    }
                    Step::Forget(number) => {
                        reads.retain(|who| who.0 != number);
                        model.0.retain(|(who, _)| who.0 != number);
                    }
                }
                prop_assert_eq!(reads.groups(), model.0.len() as u64);
                prop_assert_eq!(reads.is_empty(), model.0.is_empty());
                let left = reads.iter().flat_map(|(who, range)| {
                    range.iter().map(|group| (*who, group.get()))
                });
                prop_assert_eq!(left.collect::<Vec<_>>(), model.0.clone());
            }
        }
    }
}
