//! How each side shows that it has the access token without sending it.

use std::fmt;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use crate::key::Token;

/// The label under which both sides export keying material from TLS (RFC 8446 §7.5), without a
/// context and [`ChannelBinding`] long.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-packhorse-1";

const KEY_CONTEXT: &str = "packhorse/1 2026-11 access token proof";

/// What both ends of one TLS connection, and nobody between them, know: 32 exported bytes.
#[derive(Clone, Copy)]
pub struct ChannelBinding(pub [u8; 32]);

/// Who proves; it is part of what is hashed, so that one side's proof cannot be sent back to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prover {
    /// The side that connected.
    Client,
    /// The side that accepted.
    Server,
}

/// A keyed BLAKE3 hash over the channel binding and the prover; compared in constant time.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub struct Proof([u8; 32]);

impl Proof {
    /// The proof of `prover` for this connection.
    #[must_use]
    pub fn new(token: &Token, binding: &ChannelBinding, prover: Prover) -> Self {
        let key = blake3::derive_key(KEY_CONTEXT, token.secret_bytes());
        let mut hasher = blake3::Hasher::new_keyed(&key);
        hasher.update(&binding.0);
        hasher.update(match prover {
            Prover::Client => b"client",
            Prover::Server => b"server",
        });
        Self(*hasher.finalize().as_bytes())
    }

    /// The proof's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl From<[u8; 32]> for Proof {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl PartialEq for Proof {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Proof {}

impl fmt::Debug for Proof {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Proof(…)")
    }
}

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ChannelBinding(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_holds_for_one_token_one_connection_and_one_side() {
        let (token, binding) = (Token::from([1; 16]), ChannelBinding([2; 32]));
        let proof = Proof::new(&token, &binding, Prover::Client);
        assert_eq!(proof, Proof::new(&token, &binding, Prover::Client));
        assert_ne!(proof, Proof::new(&token, &binding, Prover::Server));
        assert_ne!(
            proof,
            Proof::new(&Token::from([3; 16]), &binding, Prover::Client)
        );
        assert_ne!(
            proof,
            Proof::new(&token, &ChannelBinding([4; 32]), Prover::Client)
        );
    }
}
