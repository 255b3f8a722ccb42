//! The servers whose identity a person has accepted.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use packhorse_protocol::address::{Address, HostPort};
use packhorse_protocol::key::{Key, Pin};
use packhorse_protocol::path::RelativePath;

use crate::exit::{CommandError, Exit, OrExit};
use crate::state::State;
use crate::text::{address, files, machine};

/// The files, and the one whose lock whoever changes either holds.
const FILE: &str = "hosts";
const TLS_FILE: &str = "tls-hosts";
const LOCK_FILE: &str = "hosts.lock";

/// Remembered servers, by host and port: one address a line, with the pin and without any token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hosts<'a> {
    state: &'a State,
    file: &'static str,
}

impl<'a> Hosts<'a> {
    /// Those in `state`.
    #[must_use]
    pub(crate) fn new(state: &'a State) -> Self {
        Self { state, file: FILE }
    }

    /// Those in `state` that were met with TLS and without the native protocol: there a Packhorse
    /// server may show another key.
    #[must_use]
    pub(crate) fn of_tls(state: &'a State) -> Self {
        let file = TLS_FILE;
        Self { state, file }
    }

    /// Who is remembered at `place`.
    ///
    /// # Errors
    /// The file cannot be read, or is damaged: what cannot be read is not taken for unknown.
    pub(crate) fn find(self, place: &HostPort) -> Result<Option<Pin>, CommandError> {
        let path = self.state.file(self.file)?;
        let text = read(&path)?;
        find_in(&text, place).map_err(|line| damaged(&path, line))
    }

    /// Remembers that `pin` is who serves at `place`. Who is remembered already stays.
    ///
    /// # Errors
    /// The file cannot be written, or is damaged.
    pub(crate) fn remember(self, place: &HostPort, pin: Pin) -> Result<(), CommandError> {
        let path = self.state.file_in_place(self.file)?;
        let failed = || machine::cannot_remember(path.display());
        let lock = self
            .state
            .file(LOCK_FILE)
            .and_then(|path| lock(&path).or_exit(Exit::LocalIo, failed))?;
        let mut text = read(&path)?;
        if find_in(&text, place)
            .map_err(|line| damaged(&path, line))?
            .is_some()
        {
            return Ok(());
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        let entry = Address {
            key: Some(Key { pin, token: None }),
            place: place.clone(),
            path: RelativePath::ROOT,
            directory_only: false,
        };
        let _ = writeln!(text, "{}", entry.reveal());
        replace(&path, &text).or_exit(Exit::LocalIo, failed)?;
        drop(lock);
        Ok(())
    }

    /// Where a person can take a server out again.
    #[must_use]
    pub(crate) fn file_name(self) -> String {
        let path = self.state.file(self.file);
        path.map_or_else(|_| self.file.into(), |path| path.display().to_string())
    }
}

fn read(path: &Path) -> Result<String, CommandError> {
    match fs::read_to_string(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        read => read.or_exit(Exit::LocalIo, || files::cannot_read(path.display())),
    }
}

fn damaged(path: &Path, line: usize) -> CommandError {
    CommandError::new(Exit::LocalIo, address::damaged_hosts(line, path.display()))
}

/// The pin at `place`; the number of the first line that is not an address with a key.
fn find_in(text: &str, place: &HostPort) -> Result<Option<Pin>, usize> {
    let mut found = None;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let address: Address = line.parse().map_err(|_| index + 1)?;
        let key = address.key.ok_or(index + 1)?;
        let is_same_host = address.place.host.eq_ignore_ascii_case(&place.host);
        if is_same_host && address.place.port == place.port && found.is_none() {
            found = Some(key.pin);
        }
    }
    Ok(found)
}

fn lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)?;
    file.lock()?;
    Ok(file)
}

/// Whoever reads sees the old text or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let unfinished = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn place(host: &str, port: u16) -> HostPort {
        HostPort {
            host: host.into(),
            port,
        }
    }

    #[test]
    fn servers_are_remembered_and_stay() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::new(Some(directory.path().join("state")));
        let hosts = Hosts::new(&state);
        let [one, two] = [Pin::from([1; 16]), Pin::from([2; 16])];
        assert_eq!(hosts.find(&place("a", 1)).unwrap(), None);
        hosts.remember(&place("a", 1), one).unwrap();
        hosts.remember(&place("::1", 2), two).unwrap();
        hosts.remember(&place("A", 1), two).unwrap();
        let cases = [
            (place("a", 1), Some(one)),
            (place("A", 1), Some(one)),
            (place("::1", 2), Some(two)),
            (place("a", 2), None),
            (place("b", 1), None),
        ];
        for (place, pin) in cases {
            assert_eq!(hosts.find(&place).unwrap(), pin, "{place}");
        }
    }

    #[test]
    fn a_damaged_line_is_not_taken_for_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::new(Some(directory.path().to_owned()));
        let hosts = Hosts::new(&state);
        for text in ["# fine\n\nph://host:1/\n", "garbage\n", "ph://zz@host:1/\n"] {
            fs::write(directory.path().join(FILE), text).unwrap();
            assert_eq!(
                hosts.find(&place("host", 1)).unwrap_err().exit,
                Exit::LocalIo
            );
            assert!(hosts.remember(&place("x", 1), Pin::from([1; 16])).is_err());
        }
    }

    #[test]
    fn many_who_remember_at_once_lose_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let state = State::new(Some(directory.path().to_owned()));
        thread::scope(|scope| {
            for port in 1..=12 {
                let state = &state;
                scope.spawn(move || {
                    Hosts::new(state)
                        .remember(&place("h", port), Pin::from([3; 16]))
                        .unwrap();
                });
            }
        });
        for port in 1..=12 {
            assert!(
                Hosts::new(&state)
                    .find(&place("h", port))
                    .unwrap()
                    .is_some()
            );
        }
    }
}
