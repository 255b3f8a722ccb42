//! What an address holds besides the place: which server it must be, and the right to read from it.

use std::fmt;

use data_encoding::{Encoding, Specification};
use std::sync::LazyLock;
use subtle::ConstantTimeEq;
use thiserror::Error;

const VERSION: u8 = 1;
const PIN_BYTES: usize = 16;
const TOKEN_BYTES: usize = 16;

/// The first 16 bytes of SHA-256 over a server's SubjectPublicKeyInfo: its identity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Pin([u8; PIN_BYTES]);

impl Pin {
    /// The pin's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; PIN_BYTES] {
        &self.0
    }
}

impl From<[u8; PIN_BYTES]> for Pin {
    fn from(bytes: [u8; PIN_BYTES]) -> Self {
        Self(bytes)
    }
}

/// Shown as a fingerprint: lower-case base32 in groups of four.
impl fmt::Display for Pin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = BASE32.encode(&self.0);
        for (index, character) in text.chars().enumerate() {
            if index > 0 && index % 4 == 0 {
                out.write_str("-")?;
            }
            write!(out, "{character}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Pin({self})")
    }
}

/// The right to read from a server: 16 secret bytes. Never printed except by [`Token::reveal`];
/// compared in constant time.
#[derive(Clone)]
pub struct Token([u8; TOKEN_BYTES]);

impl Token {
    /// Reads a token as [`Token::reveal`] writes it.
    ///
    /// # Errors
    /// [`KeyError`] if it is anything else.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE32.decode(text.as_bytes()).map_err(|_| KeyError)?;
        Ok(Self(bytes.try_into().map_err(|_| KeyError)?))
    }

    /// The secret as text, in the alphabet of keys; only for what is meant to carry it.
    #[must_use]
    pub fn reveal(&self) -> String {
        BASE32.encode(&self.0)
    }

    /// The secret's bytes.
    #[must_use]
    pub fn secret_bytes(&self) -> &[u8; TOKEN_BYTES] {
        &self.0
    }
}

impl From<[u8; TOKEN_BYTES]> for Token {
    fn from(bytes: [u8; TOKEN_BYTES]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Token {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Token {}

impl fmt::Debug for Token {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Token(secret)")
    }
}

/// The KEY of an address: the pin and, unless the server is open, the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// Which server it must be.
    pub pin: Pin,
    /// The right to read; `None` where the server is open.
    pub token: Option<Token>,
}

/// Some text is not a key; what it may have been is not said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the key in the address is not right: copy the whole address again, as the server printed it"
)]
pub struct KeyError;

impl Key {
    /// Reads a key as [`Key::reveal`] writes it.
    ///
    /// # Errors
    /// [`KeyError`] on any other length, alphabet, version, or bits left over at the end.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let bytes = BASE32.decode(text.as_bytes()).map_err(|_| KeyError)?;
        let (&version, rest) = bytes.split_first().ok_or(KeyError)?;
        let (pin, token) = rest.split_first_chunk().ok_or(KeyError)?;
        if version != VERSION {
            return Err(KeyError);
        }
        let token = match token {
            [] => None,
            _ => Some(Token(token.try_into().map_err(|_| KeyError)?)),
        };
        Ok(Self {
            pin: Pin(*pin),
            token,
        })
    }

    /// The key as text, secret included: a version byte, the pin and the token as one string of
    /// lower-case unpadded base32 (RFC 4648 alphabet).
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend_from_slice(&self.pin.0);
        if let Some(token) = &self.token {
            bytes.extend_from_slice(&token.0);
        }
        BASE32.encode(&bytes)
    }
}

static BASE32: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification
        .symbols
        .push_str("abcdefghijklmnopqrstuvwxyz234567");
    specification
        .encoding()
        .expect("32 distinct symbols are a valid alphabet")
});

#[cfg(test)]
mod tests {
    use super::*;

    fn key(token: bool) -> Key {
        Key {
            pin: Pin([7; 16]),
            token: token.then_some(Token([9; 16])),
        }
    }

    #[test]
    fn a_key_reads_back_what_it_reveals() {
        for key in [key(true), key(false)] {
            assert_eq!(Key::parse(&key.reveal()), Ok(key));
        }
    }

    /// A wrong character is a wrong key, never another meaning.
    #[test]
    fn any_changed_character_is_another_key_or_none() {
        let text = key(true).reveal();
        for at in 0..text.len() {
            for symbol in "abcdefghijklmnopqrstuvwxyz2345670189ABC=-_ ".chars() {
                let mut changed = text.clone();
                changed.replace_range(at..=at, &symbol.to_string());
                if changed != text {
                    assert_ne!(Key::parse(&changed), Ok(key(true)), "{changed}");
                }
            }
            assert_ne!(Key::parse(&text[..at]), Ok(key(true)), "cut to {at}");
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        assert!(!format!("{:?}", key(true)).contains(&key(true).token.unwrap().reveal()));
    }
}
