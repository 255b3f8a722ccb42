//! Who a server is: a key, and the certificate that shows it.

use std::fmt;

use aws_lc_rs::digest;
use packhorse_protocol::key::Pin;
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_ECDSA_P256_SHA256, PublicKeyData};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

/// A server's ECDSA P-256 key with a certificate signed by itself.
///
/// Only the key is worth keeping: the pin is taken over the key, so the certificate is made anew
/// at each start.
pub struct Identity {
    key: KeyPair,
    certificate: CertificateDer<'static>,
}

/// Why there is no identity. The caller knows the file and names it.
#[derive(Debug, Error)]
pub enum IdentityError {
    /// It is not PEM, or there is no private key in it.
    #[error(
        "no private key was found: an identity file is PEM and has a `BEGIN PRIVATE KEY` section (PKCS #8, not encrypted)"
    )]
    NoKey,
    /// There is a key that cannot be an identity.
    #[error("the private key is damaged or not of the kind ECDSA P-256 (prime256v1)")]
    WrongKey,
    /// The key could not be made or signed with: the system has no randomness or no memory.
    #[error("no identity could be made: {0}")]
    NotMade(#[source] rcgen::Error),
}

impl Identity {
    /// Makes a new one from the system's randomness.
    ///
    /// # Errors
    /// `NotMade`.
    pub fn generate() -> Result<Self, IdentityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(IdentityError::NotMade)?;
        Self::with_key(key)
    }

    /// Reads what [`Identity::to_pem`] wrote, or any file with a PKCS #8 key of the right kind;
    /// other PEM sections are passed over.
    ///
    /// # Errors
    /// `NoKey` or `WrongKey`, by the file; `NotMade`, by the system.
    pub fn from_pem(text: &[u8]) -> Result<Self, IdentityError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(text).map_err(|_| IdentityError::NoKey)?;
        let key = KeyPair::from_pkcs8_der_and_sign_algo(&der, &PKCS_ECDSA_P256_SHA256)
            .map_err(|_| IdentityError::WrongKey)?;
        Self::with_key(key)
    }

    /// The private key as PEM (PKCS #8): a secret, for a file that only its owner may read.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// What an address says of this identity.
    #[must_use]
    pub fn pin(&self) -> Pin {
        pin_of(&self.key.subject_public_key_info())
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.clone()
    }

    pub(crate) fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }

    fn with_key(key: KeyPair) -> Result<Self, IdentityError> {
        // Nobody checks its names or dates: the address pins the key, and a browser that is shown
        // this certificate asks its user about the fingerprint. So it never expires (rcgen lets it
        // live until the year 4096).
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "Packhorse");
        let certificate = params.self_signed(&key).map_err(IdentityError::NotMade)?;
        Ok(Self {
            certificate: certificate.der().clone(),
            key,
        })
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Identity({})", self.pin())
    }
}

/// The pin of a key, given as the DER of its SubjectPublicKeyInfo (RFC 5280 §4.1.2.7).
pub(crate) fn pin_of(subject_public_key_info: &[u8]) -> Pin {
    let digest = digest::digest(&digest::SHA256, subject_public_key_info);
    let first = digest
        .as_ref()
        .first_chunk::<16>()
        .expect("SHA-256 has 32 bytes");
    Pin::from(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_reads_back_what_it_writes() {
        let identity = Identity::generate().unwrap();
        let again = Identity::from_pem(identity.to_pem().as_bytes()).unwrap();
        assert_eq!(again.pin(), identity.pin());
        assert_ne!(Identity::generate().unwrap().pin(), identity.pin());
    }

    /// Made with `openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256`, and its pin with
    /// `openssl pkey -pubout -outform DER | sha256sum`.
    #[test]
    fn a_pin_is_what_openssl_computes() {
        let pem = "-----BEGIN PRIVATE KEY-----\n\
            MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgpW6CgGdkVOeoyIit\n\
            UOXhqi/bN7G3rzhjPoZW4/wsk5mhRANCAATxhJ4++qtxeggFB33F0DeX1RRH+t+N\n\
            Iba16E0cfOHClUwcorrAALXw1m5/XyDT+y9jS5IJscnMJu1D3SvClv7e\n\
            -----END PRIVATE KEY-----\n";
        let identity = Identity::from_pem(pem.as_bytes()).unwrap();
        let sha256 = 0x2939_dfff_df3b_33f6_1db2_2187_3ac8_54ba_u128;
        assert_eq!(identity.pin().as_bytes(), &sha256.to_be_bytes());
    }

    #[test]
    fn what_is_not_an_identity_says_why() {
        let pem = Identity::generate().unwrap().to_pem();
        let of = |algorithm| KeyPair::generate_for(algorithm).unwrap().serialize_pem();
        let p384 = of(&rcgen::PKCS_ECDSA_P384_SHA384);
        let ed25519 = of(&rcgen::PKCS_ED25519);
        let encrypted = pem.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let cases: [(&[u8], &str); 8] = [
            (b"", "NoKey"),
            (b"\xff\x00 not text", "NoKey"),
            (b"-----BEGIN PRIVATE KEY-----\n", "NoKey"),
            (&pem.as_bytes()[..pem.len() / 2], "NoKey"),
            (encrypted.as_bytes(), "NoKey"),
            (
                b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                "WrongKey",
            ),
            (p384.as_bytes(), "WrongKey"),
            (ed25519.as_bytes(), "WrongKey"),
        ];
        for (text, error) in cases {
            let found = Identity::from_pem(text).map_err(|error| format!("{error:?}"));
            assert_eq!(
                found.err().as_deref(),
                Some(error),
                "{}",
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn the_key_is_never_printed() {
        let identity = Identity::generate().unwrap();
        assert_eq!(
            format!("{identity:?}"),
            format!("Identity({})", identity.pin())
        );
    }
}
