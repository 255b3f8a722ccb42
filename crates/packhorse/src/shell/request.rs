//! What a line of the shell asks for.

use super::words;
use crate::text::{Text, shell};

/// The commands, for completion.
pub(crate) const COMMANDS: [&str; 6] = ["cat", "cd", "get", "help", "ls", "pwd"];

/// What a line asks for. Names are as they were typed, their quotes removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Request {
    /// Fetch this file.
    Fetch(Vec<u8>),
    /// Fetch these files and directories.
    Get(Vec<Vec<u8>>),
    /// List what is there.
    List { long: bool, path: Vec<u8> },
    /// Go there.
    Change(Vec<u8>),
    /// Say where we are.
    Where,
    /// Show this file.
    Show(Vec<u8>),
    /// Say what can be asked for.
    Help,
    /// End.
    End,
}

impl Request {
    /// Reads a line.
    ///
    /// # Errors
    /// What is wrong with it, for a person.
    pub(crate) fn parse(line: &str) -> Result<Self, Text> {
        let line = line.trim_matches([' ', '\t', '\r', '\n']);
        if line.is_empty() {
            return Ok(Self::End);
        }
        let words = match words::split(line) {
            Ok(words) => words,
            // Someone's file may well be called like that.
            Err(_) if !is_command(line) => return Ok(Self::Fetch(line.into())),
            Err(words::WordError::Quote) => return Err(shell::open_quote()),
            Err(words::WordError::Backslash) => {
                return Err(shell::lone_backslash());
            }
        };
        let (command, arguments) = words.split_first().expect("the line is not empty");
        match (command.as_slice(), arguments) {
            (b"get", [_, ..]) => Ok(Self::Get(arguments.to_vec())),
            (b"get", []) => Err(shell::what("get")),
            (b"ls", _) => list(arguments),
            (b"cd", []) => Ok(Self::Change(b"/".to_vec())),
            (b"cd", [path]) => Ok(Self::Change(path.clone())),
            (b"pwd", []) => Ok(Self::Where),
            (b"cat", [name]) => Ok(Self::Show(name.clone())),
            (b"help", []) => Ok(Self::Help),
            (b"cat", []) => Err(shell::what("cat")),
            (b"cat" | b"cd" | b"pwd" | b"help", _) => Err(shell::too_much()),
            (_, []) => Ok(Self::Fetch(command.clone())),
            // A file name with spaces in it, typed as it is.
            _ => Ok(Self::Fetch(line.into())),
        }
    }
}

fn list(arguments: &[Vec<u8>]) -> Result<Request, Text> {
    let is_flag = |word: &&Vec<u8>| word.as_slice() == b"-l";
    let paths: Vec<_> = arguments.iter().filter(|word| !is_flag(word)).collect();
    let path = match paths.as_slice() {
        [] => Vec::new(),
        [path] => (*path).clone(),
        _ => return Err(shell::one_place()),
    };
    let long = paths.len() < arguments.len();
    Ok(Request::List { long, path })
}

fn is_command(line: &str) -> bool {
    let first = line.split([' ', '\t']).next().unwrap_or_default();
    COMMANDS.contains(&first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let fetch = |name: &[u8]| Ok(Request::Fetch(name.to_vec()));
        let list = |long, path: &[u8]| {
            Ok(Request::List {
                long,
                path: path.to_vec(),
            })
        };
        let cases = [
            ("", Ok(Request::End)),
            (" \r\n", Ok(Request::End)),
            ("a.txt\n", fetch(b"a.txt")),
            ("'my file'", fetch(b"my file")),
            ("my file.txt", fetch(b"my file.txt")),
            ("it's.txt", fetch(b"it's.txt")),
            ("ls", list(false, b"")),
            ("ls -l", list(true, b"")),
            ("ls -l a", list(true, b"a")),
            ("ls a b", Err(())),
            ("lsx", fetch(b"lsx")),
            ("get ls", Ok(Request::Get(vec![b"ls".to_vec()]))),
            (
                "get a 'b c'",
                Ok(Request::Get(vec![b"a".to_vec(), b"b c".to_vec()])),
            ),
            ("get", Err(())),
            ("get 'a", Err(())),
            ("cd", Ok(Request::Change(b"/".to_vec()))),
            ("cd ..", Ok(Request::Change(b"..".to_vec()))),
            ("cd a b", Err(())),
            ("pwd", Ok(Request::Where)),
            ("cat a", Ok(Request::Show(b"a".to_vec()))),
            ("cat", Err(())),
            ("help", Ok(Request::Help)),
        ];
        for (line, expected) in cases {
            assert_eq!(Request::parse(line).map_err(|_| ()), expected, "{line:?}");
        }
    }
}
