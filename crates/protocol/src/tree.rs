//! The order in which a tree is told, so that each name can come only once and only where it may.
//!
//! A directory is told before what lies in it: first its files and links, sorted by the bytes of
//! their names, then each directory in it, likewise sorted, with all that it holds.

use serde::{Deserialize, Serialize};

use crate::path::{Name, RelativePath};
use crate::session::Violation;

/// A place in a tree: behind the item that was told last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The directory told last.
    pub directory: RelativePath,
    /// The file or link in it told last; `None` if there was none yet.
    pub after: Option<Name>,
}

/// Follows a tree item by item and refuses what is out of order.
#[derive(Debug, Clone)]
pub struct TreeOrder {
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    Start,
    In(Cursor),
    Single,
    Ended,
}

impl TreeOrder {
    /// A tree that is told from `cursor` on, or from its start.
    #[must_use]
    pub fn new(cursor: Option<Cursor>) -> Self {
        Self {
            place: cursor.map_or(Place::Start, Place::In),
        }
    }

    /// The place behind the last item; `None` before the first and for a single file.
    #[must_use]
    pub fn cursor(&self) -> Option<&Cursor> {
        match &self.place {
            Place::In(cursor) => Some(cursor),
            Place::Start | Place::Single | Place::Ended => None,
        }
    }

    /// The directory that files and links lie in now; the root for a single file.
    #[must_use]
    pub fn directory(&self) -> RelativePath {
        self.cursor()
            .map_or(RelativePath::ROOT, |cursor| cursor.directory.clone())
    }

    /// Whether the tree has been told to its end.
    #[must_use]
    pub fn is_ended(&self) -> bool {
        matches!(self.place, Place::Ended)
    }

    /// Whether the tree is a single file or link.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(self.place, Place::Single)
    }

    /// A directory is told.
    ///
    /// # Errors
    /// `TreeOrder`: it does not come next.
    pub fn handle_directory(&mut self, path: &RelativePath) -> Result<(), Violation> {
        let comes_next = match &self.place {
            Place::Start => path.is_root(),
            Place::In(cursor) => follows(&cursor.directory, path),
            Place::Single | Place::Ended => false,
        };
        if !comes_next {
            return Err(Violation::TreeOrder);
        }
        self.place = Place::In(Cursor {
            directory: path.clone(),
            after: None,
        });
        Ok(())
    }

    /// A file or link of the current directory is told.
    ///
    /// # Errors
    /// `TreeOrder`: its name does not sort behind the one before.
    pub fn handle_name(&mut self, name: &Name) -> Result<(), Violation> {
        match &mut self.place {
            Place::Start => self.place = Place::Single,
            Place::In(Cursor { after, .. }) if after.as_ref().is_none_or(|last| last < name) => {
                *after = Some(name.clone());
            }
            Place::In(_) | Place::Single | Place::Ended => return Err(Violation::TreeOrder),
        }
        Ok(())
    }

    /// The end is told. It may be told again to requests that were already under way.
    pub fn handle_end(&mut self) {
        self.place = Place::Ended;
    }
}

/// Whether directory `next` may be told while `current` is the one told last: it lies in `current`
/// or in an ancestor of it, and there sorts behind the branch that `current` is on.
fn follows(current: &RelativePath, next: &RelativePath) -> bool {
    let Some((parent, name)) = next.split_last() else {
        return false;
    };
    match current.strip_prefix(&parent) {
        None => false,
        Some(below) => below
            .components()
            .next()
            .is_none_or(|told| told < name.as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelativePath {
        RelativePath::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn directories_come_in_order_and_once() {
        let cases = [
            ("", "a", true),
            ("", "", false),
            ("", "a/b", false),
            ("a", "a/b", true),
            ("a/b", "a/b", false),
            ("a/b", "a/a", false),
            ("a/b/c", "a/d", true),
            ("a/b/c", "b", true),
            ("a/b/c", "a", false),
            ("a/b", "x/y", false),
            ("a/b", "ab", true),
        ];
        for (current, next, may) in cases {
            assert_eq!(
                follows(&path(current), &path(next)),
                may,
                "{current} then {next}"
            );
        }
    }

    #[test]
    fn names_come_in_order_and_once() {
        let name = |text: &str| Name::parse(text.as_bytes()).unwrap();
        let mut order = TreeOrder::new(None);
        assert!(order.handle_directory(&path("a")).is_err());
        order.handle_directory(&RelativePath::ROOT).unwrap();
        order.handle_name(&name("b")).unwrap();
        assert!(order.handle_name(&name("b")).is_err());
        assert!(order.handle_name(&name("a")).is_err());
        order.handle_directory(&path("a")).unwrap();
        order.handle_name(&name("a")).unwrap();
        assert_eq!(
            order.cursor(),
            Some(&Cursor {
                directory: path("a"),
                after: Some(name("a"))
            })
        );
        order.handle_end();
        assert!(order.handle_name(&name("c")).is_err());
    }

    #[test]
    fn a_single_file_stands_alone() {
        let name = Name::parse(b"f").unwrap();
        let mut order = TreeOrder::new(None);
        order.handle_name(&name).unwrap();
        assert!(order.is_single());
        assert!(order.handle_name(&name).is_err());
        assert!(order.handle_directory(&RelativePath::ROOT).is_err());
    }
}
