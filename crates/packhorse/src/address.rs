//! Where an address comes from: an argument, standard input, or the environment.

use std::ffi::OsStr;
use std::io::{self, BufRead, Read};

use packhorse_protocol::address::{Address, AddressError, HostPort};
use packhorse_protocol::key::{Key, Token};
use packhorse_protocol::plain_address::{PlainAddress, PlainAddressError};

use crate::environment::Environment;
use crate::exit::{CommandError, Exit, OrExit};
use crate::text::{self, Text, machine};

/// What a line with an address has at most, in bytes: three for each byte of the longest path, and
/// some for the rest.
const LINE_BYTES_MAX: u64 = 16 << 10;

/// What an address leads to.
#[derive(Debug)]
pub(crate) enum Target {
    /// A Packhorse server.
    Keyed(Address),
    /// A server of the plain mode.
    Plain(PlainAddress),
}

/// What several addresses lead to.
#[derive(Debug)]
pub(crate) enum Targets {
    /// Packhorse servers.
    Keyed(Vec<Address>),
    /// Servers of the plain mode; at least one.
    Plain(Vec<PlainAddress>),
}

/// The address that `argument` means: itself, a line of standard input for `-`, or what the
/// environment says where there is none.
///
/// # Errors
/// Exit 4 for a key that cannot be right, 2 for everything else that is not an address. What was
/// given is never repeated: it may hold a key.
pub(crate) fn read(
    argument: Option<&str>,
    environment: &Environment,
) -> Result<Address, CommandError> {
    match read_target(argument, environment)? {
        Target::Keyed(address) => Ok(address),
        Target::Plain(_) => Err(CommandError::usage(text::plain::no_lists())),
    }
}

/// As [`read`], where an address of the plain mode makes sense too.
///
/// # Errors
/// As [`read`].
pub(crate) fn read_target(
    argument: Option<&str>,
    environment: &Environment,
) -> Result<Target, CommandError> {
    match argument {
        Some("-") => parse(&read_line(&mut io::stdin().lock())?),
        Some(text) => parse(text),
        None => {
            let variable = environment
                .address
                .as_deref()
                .ok_or_else(|| CommandError::usage(text::address::missing()))?;
            match text_of(variable)? {
                "-" => parse(&read_line(&mut io::stdin().lock())?),
                text => parse(text),
            }
        }
    }
}

/// All addresses that `arguments` mean; the environment's where there are none.
///
/// # Errors
/// As [`read`], for the first that is none; also if they are of both kinds.
pub(crate) fn read_all(
    arguments: &[String],
    environment: &Environment,
) -> Result<Targets, CommandError> {
    let targets = if arguments.is_empty() {
        vec![read_target(None, environment)?]
    } else {
        let read_one = |argument: &String| read_target(Some(argument), environment);
        arguments.iter().map(read_one).collect::<Result<_, _>>()?
    };
    let (mut keyed, mut plain) = (Vec::new(), Vec::new());
    for target in targets {
        match target {
            Target::Keyed(address) => keyed.push(address),
            Target::Plain(address) => plain.push(address),
        }
    }
    match (keyed.is_empty(), plain.is_empty()) {
        (_, true) => Ok(Targets::Keyed(keyed)),
        (true, false) => Ok(Targets::Plain(plain)),
        (false, false) => Err(CommandError::usage(text::plain::one_kind_each())),
    }
}

/// The token that `PACKHORSE_KEY` has for servers whose address has no key: that of a whole key, or
/// a token alone.
///
/// # Errors
/// Exit 4: it is neither.
pub(crate) fn token(environment: &Environment) -> Result<Option<Token>, CommandError> {
    let Some(text) = &environment.key else {
        return Ok(None);
    };
    let refused = || CommandError::new(Exit::Refused, text::address::variable_not_a_key());
    let text = text.to_str().ok_or_else(refused)?.trim();
    if let Ok(token) = Token::parse(text) {
        return Ok(Some(token));
    }
    Ok(Key::parse(text).map_err(|_| refused())?.token)
}

fn parse(text: &str) -> Result<Target, CommandError> {
    let text = text.trim();
    if PlainAddress::is_meant(text) {
        let address = text.parse();
        return address
            .map(Target::Plain)
            .map_err(|error: PlainAddressError| CommandError::usage(error));
    }
    let address = text.parse().map_err(|error: AddressError| match error {
        AddressError::Key(_) => CommandError::new(Exit::Refused, error),
        AddressError::Scheme => CommandError::usage(without_scheme(text)),
        _ => CommandError::usage(error),
    });
    address.map(Target::Keyed)
}

/// What to do about `text`, which begins with something else than an address does.
fn without_scheme(text: &str) -> Text {
    if text.starts_with("https://") || text.starts_with("http://") {
        return text::address::for_browsers();
    }
    let place = text.split('/').next().unwrap_or_default();
    match HostPort::parse(place, None) {
        Ok(_) | Err(AddressError::Brackets(_)) => text::address::without_scheme(),
        Err(_) => AddressError::Scheme.into(),
    }
}

fn text_of(variable: &OsStr) -> Result<&str, CommandError> {
    variable
        .to_str()
        .ok_or_else(|| CommandError::usage(text::address::variable_not_text()))
}

/// Reads one line and leaves what follows it.
fn read_line(input: &mut impl BufRead) -> Result<String, CommandError> {
    let mut line = Vec::new();
    input
        .take(LINE_BYTES_MAX)
        .read_until(b'\n', &mut line)
        .or_exit(Exit::LocalIo, machine::no_input)?;
    if line.is_empty() {
        return Err(CommandError::usage(text::address::none_on_input()));
    }
    String::from_utf8(line).map_err(|_| CommandError::usage(text::address::not_on_input()))
}

#[cfg(test)]
mod tests {
    use packhorse_protocol::key::Pin;

    use super::*;

    fn key() -> Key {
        Key {
            pin: Pin::from([1; 16]),
            token: Some(Token::from([2; 16])),
        }
    }

    fn exit_of(text: &str) -> Result<String, u8> {
        let environment = Environment::default();
        let address = read(Some(text), &environment).map_err(|error| error.exit.code())?;
        Ok(address.to_string())
    }

    #[test]
    fn a_wrong_key_is_told_from_a_wrong_address() {
        let good = key().reveal();
        let cases = [
            (format!("ph://{good}@h:1/a"), Ok("ph://h:1/a")),
            (format!(" ph://{good}@h:1/a \n"), Ok("ph://h:1/a")),
            ("ph://h/".into(), Ok("ph://h:7225/")),
            (format!("ph://{}@h:1/a", &good[1..]), Err(4)),
            (format!("ph://{}0@h:1/a", &good[1..]), Err(4)),
            ("ph://@h:1/a".into(), Err(4)),
            ("http://h/".into(), Err(2)),
            ("h:1".into(), Err(2)),
            ("".into(), Err(2)),
            (format!("ph://{good}@h:99999/a"), Err(2)),
        ];
        for (text, expected) in cases {
            assert_eq!(
                exit_of(&text).as_deref().map_err(|code| *code),
                expected,
                "{text}"
            );
        }
    }

    #[test]
    fn the_environment_serves_where_no_argument_does() {
        let mut environment = Environment::default();
        assert_eq!(read(None, &environment).unwrap_err().exit, Exit::Usage);
        environment.address = Some("ph://h/x".into());
        let all = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
            match read_all(&arguments, &environment) {
                Ok(Targets::Keyed(keyed)) => keyed.iter().map(ToString::to_string).collect(),
                Ok(Targets::Plain(plain)) => plain.iter().map(ToString::to_string).collect(),
                Err(error) => vec![error.exit.code().to_string()],
            }
        };
        assert_eq!(all(&[]), ["ph://h:7225/x"]);
        assert_eq!(
            all(&["ph://a/", "ph://b/"]),
            ["ph://a:7225/", "ph://b:7225/"]
        );
        assert_eq!(all(&["plain://a/b c"]), ["plain://a:7225/b c"]);
        assert_eq!(all(&["plain://a/b", "ph://b/"]), ["2"]);
        assert_eq!(all(&["plain://a/%"]), ["2"]);
    }

    #[test]
    fn a_line_leaves_what_follows_it() {
        let mut input = &b"ph://h/\nnext\n"[..];
        assert_eq!(read_line(&mut input).unwrap(), "ph://h/\n");
        assert_eq!(input, b"next\n");
        assert!(read_line(&mut &b""[..]).is_err());
        assert!(read_line(&mut &b"\xff\n"[..]).is_err());
    }

    #[test]
    fn a_token_comes_alone_or_in_a_key() {
        let with = |text: &str| {
            let key = Some(text.into());
            token(&Environment {
                key,
                ..Environment::default()
            })
            .map_err(|error| error.exit)
        };
        let expected = key().token;
        assert_eq!(with(&key().reveal()).unwrap(), expected);
        assert_eq!(with(&expected.clone().unwrap().reveal()).unwrap(), expected);
        let open = Key {
            token: None,
            ..key()
        };
        assert_eq!(with(&open.reveal()).unwrap(), None);
        assert_eq!(with("wrong").unwrap_err(), Exit::Refused);
        assert_eq!(token(&Environment::default()).unwrap(), None);
    }
}
