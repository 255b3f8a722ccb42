//! Names and relative paths, checked once at the edge.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

use crate::escape::Escaped;
use crate::limits::{NAME_BYTES_MAX, PATH_BYTES_MAX};

/// The directory in which unfinished downloads live; never served, never received.
pub const PARTIAL_DIRECTORY: &[u8] = b".packhorse-partial";

/// Why some bytes are not a name or a path that Packhorse handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PathError {
    /// A component between two separators is empty, or the path begins with one.
    #[error("it has an empty part (`//`, or a `/` at the start or end)")]
    EmptyPart,
    /// A component is `.` or `..`.
    #[error("it has a part `.` or `..`")]
    DotPart,
    /// A NUL byte.
    #[error("it has a NUL byte")]
    Nul,
    /// A separator inside a single name.
    #[error("a single name cannot have a `/`")]
    Separator,
    /// A name longer than [`NAME_BYTES_MAX`].
    #[error("it has a part of more than {NAME_BYTES_MAX} bytes")]
    NameTooLong,
    /// A path longer than [`PATH_BYTES_MAX`].
    #[error("it is longer than {PATH_BYTES_MAX} bytes")]
    PathTooLong,
    /// The name of the directory for unfinished downloads.
    #[error("`.packhorse-partial` is reserved for unfinished downloads")]
    Reserved,
}

/// One component of a path: 1 to 255 bytes, neither `.` nor `..`, without `/` or NUL, not reserved.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Vec<u8>);

impl Name {
    /// Checks `bytes` as a single name.
    ///
    /// # Errors
    /// The rule that `bytes` breaks.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        check_name(bytes)?;
        Ok(Self(bytes.to_vec()))
    }

    /// The name's bytes, in no particular encoding.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A path below some root: names joined by `/`; empty for the root itself. It cannot climb.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RelativePath(Vec<u8>);

impl RelativePath {
    /// The root itself.
    pub const ROOT: Self = Self(Vec::new());

    /// Checks `bytes` as a path; empty bytes are the root.
    ///
    /// # Errors
    /// The first rule that a component breaks, or `PathTooLong`.
    pub fn parse(bytes: &[u8]) -> Result<Self, PathError> {
        if bytes.is_empty() {
            return Ok(Self::ROOT);
        }
        if bytes.len() > PATH_BYTES_MAX {
            return Err(PathError::PathTooLong);
        }
        bytes.split(|&byte| byte == b'/').try_for_each(check_name)?;
        Ok(Self(bytes.to_vec()))
    }

    /// The path's bytes; empty for the root.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.0.is_empty()
    }

    /// The names from the root down.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = Name> + '_ {
        self.components().map(|bytes| Name(bytes.to_vec()))
    }

    /// The names from the root down, as bytes.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0
            .split(|&byte| byte == b'/')
            .filter(|part| !part.is_empty())
    }

    /// How many names the path has.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.components().count()
    }

    /// This path with `name` below it.
    ///
    /// # Errors
    /// `PathTooLong`.
    pub fn join(&self, name: &Name) -> Result<Self, PathError> {
        self.join_path(&Self(name.0.clone()))
    }

    /// This path with `below` appended.
    ///
    /// # Errors
    /// `PathTooLong`.
    pub fn join_path(&self, below: &Self) -> Result<Self, PathError> {
        if self.is_root() {
            return Ok(below.clone());
        }
        if below.is_root() {
            return Ok(self.clone());
        }
        let length = self.0.len() + 1 + below.0.len();
        if length > PATH_BYTES_MAX {
            return Err(PathError::PathTooLong);
        }
        let mut joined = Vec::with_capacity(length);
        joined.extend_from_slice(&self.0);
        joined.push(b'/');
        joined.extend_from_slice(&below.0);
        Ok(Self(joined))
    }

    /// The parent and the last name; `None` for the root.
    #[must_use]
    pub fn split_last(&self) -> Option<(Self, Name)> {
        if self.is_root() {
            return None;
        }
        Some(match self.0.iter().rposition(|&byte| byte == b'/') {
            Some(at) => (Self(self.0[..at].to_vec()), Name(self.0[at + 1..].to_vec())),
            None => (Self::ROOT, Name(self.0.clone())),
        })
    }

    /// What remains of this path below `ancestor`; `None` if it does not lie there.
    #[must_use]
    pub fn strip_prefix(&self, ancestor: &Self) -> Option<Self> {
        if ancestor.is_root() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(ancestor.0.as_slice())? {
            [] => Some(Self::ROOT),
            [b'/', rest @ ..] => Some(Self(rest.to_vec())),
            _ => None,
        }
    }
}

impl From<Name> for RelativePath {
    fn from(name: Name) -> Self {
        Self(name.0)
    }
}

/// Printed escaped: what a peer names can do nothing to a terminal.
impl fmt::Display for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(&self.0).fmt(out)
    }
}

/// Printed escaped; the root prints as `.`.
impl fmt::Display for RelativePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            out.write_str(".")
        } else {
            Escaped(&self.0).fmt(out)
        }
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Name({self})")
    }
}

impl fmt::Debug for RelativePath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "RelativePath({self})")
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(<&[u8]>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

impl Serialize for RelativePath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for RelativePath {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(<&[u8]>::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn check_name(bytes: &[u8]) -> Result<(), PathError> {
    match bytes {
        b"" => Err(PathError::EmptyPart),
        b"." | b".." => Err(PathError::DotPart),
        PARTIAL_DIRECTORY => Err(PathError::Reserved),
        _ if bytes.contains(&0) => Err(PathError::Nul),
        _ if bytes.contains(&b'/') => Err(PathError::Separator),
        _ if bytes.len() > NAME_BYTES_MAX => Err(PathError::NameTooLong),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn paths_that_climb_or_cannot_be_are_refused() {
        let long = [b'x'; 256];
        let deep = b"a/".repeat(10_000);
        let cases: &[(&[u8], PathError)] = &[
            (b"..", PathError::DotPart),
            (b"a/../b", PathError::DotPart),
            (b"./a", PathError::DotPart),
            (b"a/.", PathError::DotPart),
            (b"/etc/passwd", PathError::EmptyPart),
            (b"a//b", PathError::EmptyPart),
            (b"a/", PathError::EmptyPart),
            (b"a\0b", PathError::Nul),
            (&long, PathError::NameTooLong),
            (&deep, PathError::PathTooLong),
            (b"a/.packhorse-partial/0", PathError::Reserved),
        ];
        for (bytes, error) in cases {
            assert_eq!(
                RelativePath::parse(bytes),
                Err(*error),
                "{}",
                Escaped(bytes)
            );
        }
        assert_eq!(Name::parse(b"a/b"), Err(PathError::Separator));
        assert_eq!(Name::parse(b""), Err(PathError::EmptyPart));
    }

    #[test]
    fn strange_names_are_names() {
        for bytes in [
            &b"...\\"[..],
            b"C:",
            b"\xff\xfe",
            b"\n\t\x1b",
            b"..a",
            b"CON",
            b"%2e%2e",
        ] {
            assert_eq!(RelativePath::parse(bytes).unwrap().as_bytes(), bytes);
        }
    }

    #[test]
    fn parts_and_prefixes() {
        let path = RelativePath::parse(b"a/b/c").unwrap();
        let (parent, name) = path.split_last().unwrap();
        assert_eq!(
            (parent.as_bytes(), name.as_bytes()),
            (&b"a/b"[..], &b"c"[..])
        );
        assert_eq!(parent.join(&name).unwrap(), path);
        assert_eq!(path.strip_prefix(&parent).unwrap().as_bytes(), b"c");
        assert_eq!(path.strip_prefix(&path), Some(RelativePath::ROOT));
        assert_eq!(
            RelativePath::parse(b"ab")
                .unwrap()
                .strip_prefix(&RelativePath::parse(b"a").unwrap()),
            None
        );
        assert_eq!((path.depth(), RelativePath::ROOT.depth()), (3, 0));
    }

    proptest! {
        #[test]
        fn what_parses_never_climbs(bytes in proptest::collection::vec(prop_oneof![Just(b'/'), Just(b'.'), any::<u8>()], 0..64)) {
            if let Ok(path) = RelativePath::parse(&bytes) {
                prop_assert!(path.components().all(|part| !matches!(part, b"" | b"." | b"..")));
                prop_assert!(!path.as_bytes().starts_with(b"/"));
            }
        }
    }
}
