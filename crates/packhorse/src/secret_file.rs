//! Small files that only their owner may read: an identity, a token.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// What is larger holds no secret of ours.
const BYTES_MAX: u64 = 64 << 10;

/// How often someone may remove the file between two looks at it.
const ATTEMPTS_MAX: usize = 8;

/// What a secret file holds.
#[derive(Debug)]
pub(crate) struct SecretFile {
    /// Its content.
    pub(crate) content: Vec<u8>,
    /// Someone besides its owner may read or write it.
    pub(crate) is_exposed: bool,
}

/// Reads the file at `path`, or makes it with what `make` gives. Of several that make it at the
/// same time all get the content of the first; a half-written file is never seen.
///
/// # Errors
/// The system's own; `InvalidData` for a file that is too large.
pub(crate) fn read_or_make(
    path: &Path,
    make: impl FnOnce() -> io::Result<Vec<u8>>,
) -> io::Result<SecretFile> {
    if let Some(found) = read(path)? {
        return Ok(found);
    }
    let content = make()?;
    for _ in 0..ATTEMPTS_MAX {
        match place(path, &content) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
            Ok(()) => {
                return Ok(SecretFile {
                    content,
                    is_exposed: false,
                });
            }
        }
        if let Some(found) = read(path)? {
            return Ok(found);
        }
    }
    Err(io::Error::other("it appears and disappears"))
}

fn read(path: &Path) -> io::Result<Option<SecretFile>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let is_exposed = file.metadata()?.mode() & 0o077 != 0;
    let mut content = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut content)?;
    if content.len() as u64 > BYTES_MAX {
        return Err(io::Error::new(
            ErrorKind::InvalidData,
            "it is far too large",
        ));
    }
    Ok(Some(SecretFile {
        content,
        is_exposed,
    }))
}

/// Gives `content` the name `path`, complete or not at all, and only if nothing has that name.
fn place(path: &Path, content: &[u8]) -> io::Result<()> {
    let unfinished = Unfinished::write(path, content)?;
    match fs::hard_link(&unfinished.0, path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            // Some file systems have no hard links.
            renameat_with(CWD, &unfinished.0, CWD, path, RenameFlags::NOREPLACE)?;
        }
        linked => linked?,
    }
    drop(unfinished);
    // Without this, a power cut could take the name away again, and every address with it.
    File::open(parent(path))?.sync_all()
}

fn parent(path: &Path) -> &Path {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
}

/// A file that does not have its name yet; removed when dropped.
struct Unfinished(PathBuf);

impl Unfinished {
    fn write(path: &Path, content: &[u8]) -> io::Result<Self> {
        let mut nonce = [0; 8];
        getrandom::fill(&mut nonce).map_err(io::Error::other)?;
        let name = format!(".packhorse-{:016x}.new", u64::from_ne_bytes(nonce));
        let unfinished = Self(parent(path).join(name));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&unfinished.0)?;
        file.write_all(content)?;
        file.sync_all()?;
        Ok(unfinished)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // After a rename it is gone already.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn many_who_make_it_at_once_agree() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("identity");
        let contents: Vec<_> = thread::scope(|scope| {
            let makers: Vec<_> = (0..16u8)
                .map(|number| {
                    let path = &path;
                    scope.spawn(move || read_or_make(path, || Ok(vec![number; 1000])).unwrap())
                })
                .collect();
            makers
                .into_iter()
                .map(|maker| maker.join().unwrap().content)
                .collect()
        });
        assert!(contents.iter().all(|content| *content == contents[0]));
        assert_eq!(fs::read(&path).unwrap(), contents[0]);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_exposed_file_is_noticed() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("token");
        assert!(
            !read_or_make(&path, || Ok(b"x".to_vec()))
                .unwrap()
                .is_exposed
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(read_or_make(&path, || unreachable!()).unwrap().is_exposed);
    }

    #[test]
    fn what_is_too_large_is_not_read() {
        let error = read_or_make(Path::new("/dev/zero"), || unreachable!()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidData);
    }
}
