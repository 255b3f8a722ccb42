//! A path on the server, from where the shell is and what was typed.

use packhorse_protocol::path::{Name, PathError, RelativePath};

/// What `typed` means in `directory`: below it, or below the server's root if it begins with `/`.
/// `.` and `..` are resolved here and stop at the root; the server never sees them.
///
/// # Errors
/// A part that no path can have.
pub(super) fn resolve(directory: &RelativePath, typed: &[u8]) -> Result<RelativePath, PathError> {
    let mut path = match typed.first() {
        Some(b'/') => RelativePath::ROOT,
        _ => directory.clone(),
    };
    for part in typed.split(|&byte| byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => {
                path = path
                    .split_last()
                    .map_or(RelativePath::ROOT, |(parent, _)| parent)
            }
            _ => path = path.join(&Name::parse(part)?)?,
        }
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved() {
        let cases: [(&str, &[u8], Option<&str>); 13] = [
            ("a/b", b"c", Some("a/b/c")),
            ("a/b", b"./c/", Some("a/b/c")),
            ("a/b", b"..", Some("a")),
            ("a/b", b"../../..", Some("")),
            ("a/b", b"../x/./y", Some("a/x/y")),
            ("a/b", b"/c", Some("c")),
            ("a/b", b"/", Some("")),
            ("a/b", b"", Some("a/b")),
            ("", b"c//d", Some("c/d")),
            ("", b"..", Some("")),
            ("", b"a\0", None),
            ("", b".packhorse-partial", None),
            ("", &[b'x'; 256], None),
        ];
        for (directory, typed, expected) in cases {
            let directory = RelativePath::parse(directory.as_bytes()).unwrap();
            let path = resolve(&directory, typed).ok();
            let expected = expected.map(|path| RelativePath::parse(path.as_bytes()).unwrap());
            assert_eq!(path, expected);
        }
    }
}
