//! The client's end: whoever holds the pinned key is the server.

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use packhorse_protocol::address::HostPort;
use packhorse_protocol::key::Pin;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError,
    SignatureScheme,
};
use tokio_rustls::TlsConnector;
use webpki::aws_lc_rs::ECDSA_P256_SHA256;

use super::{NATIVE_ALPN, WRITE_BUFFER_BYTES_MAX, connection_binding, engine_error};
use crate::dial::DialError;
use crate::identity::pin_of;
use crate::read_ahead::ReadAhead;
use crate::stream::{Native, Stream};

/// What a client reads from the wire at once. Data flows mostly this way, and over loopback both
/// ends together need a fifth less of the processor than with rustls' own reads of 4 KiB.
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// TLS as a client has it over `S`.
pub type ClientStream<S> = tokio_rustls::client::TlsStream<ReadAhead<S>>;

/// Shakes hands with one server, as often as needed.
#[derive(Debug, Clone)]
pub struct ClientTls {
    expected: Option<Pin>,
    config: Arc<ClientConfig>,
}

impl ClientTls {
    /// For the server with the pin `expected`; for any where there is none, whose pin then comes
    /// out of the handshake for the caller to judge.
    #[must_use]
    pub fn new(expected: Option<Pin>) -> Self {
        let mut config = ClientConfig::builder_with_provider(Arc::new(super::native_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has suites for TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinVerifier {
                expected,
                algorithms: IDENTITY_ALGORITHMS,
            }))
            .with_no_client_auth();
        config.alpn_protocols = vec![NATIVE_ALPN.to_vec()];
        config.resumption = Resumption::disabled();
        Self {
            expected,
            config: Arc::new(config),
        }
    }

    /// The pin that the server must have.
    #[must_use]
    pub fn expected(&self) -> Option<Pin> {
        self.expected
    }

    /// Makes a native stream of `raw`, and says whose it is. It waits for as long as the server
    /// likes; `place` stands in errors, and goes to the server as the name it is called by.
    ///
    /// # Errors
    /// `WrongIdentity`, `Impersonated`, `NotPackhorse`, `HungUp`, `Damaged` or `Io`.
    pub async fn handshake<S: Stream>(
        &self,
        raw: S,
        place: &HostPort,
    ) -> Result<(Native<ClientStream<S>>, Pin), DialError> {
        let raw = ReadAhead::new(raw, READ_AHEAD_BYTES);
        let stream = TlsConnector::from(Arc::clone(&self.config))
            .connect_with(server_name(place), raw, |connection| {
                connection.set_buffer_limit(Some(WRITE_BUFFER_BYTES_MAX));
            })
            .await
            .map_err(|error| dial_error(error, place.clone()))?;
        let (_, connection) = stream.get_ref();
        let not_packhorse = |why| DialError::NotPackhorse {
            place: place.clone(),
            source: io::Error::other(why),
        };
        // A server without ALPN lets any client in; only one that names the protocol speaks it.
        if connection.alpn_protocol() != Some(NATIVE_ALPN) {
            return Err(not_packhorse("it did not agree to the protocol"));
        }
        let pin = connection
            .peer_certificates()
            .and_then(|chain| pin_shown(chain.first()?).ok())
            .ok_or_else(|| not_packhorse("it showed no certificate"))?;
        let binding = connection_binding(connection).map_err(|source| DialError::Io {
            place: place.clone(),
            source,
        })?;
        Ok((Native { stream, binding }, pin))
    }
}

/// Shakes hands with a server that need not be one of Packhorse: it may have a key of any kind, and
/// no protocol is agreed on. Who it is is told by its key alone, as between Packhorse's own.
#[derive(Debug, Clone)]
pub struct AnyServerTls {
    config: Arc<ClientConfig>,
}

impl AnyServerTls {
    /// For the server with the pin `expected`; for any where there is none, whose pin then comes
    /// out of the handshake for the caller to judge.
    #[must_use]
    pub fn new(expected: Option<Pin>) -> Self {
        let provider = default_provider();
        let algorithms = provider.signature_verification_algorithms;
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has suites for TLS 1.3")
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(PinVerifier {
                expected,
                algorithms,
            }))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Self {
            config: Arc::new(config),
        }
    }

    /// Speaks TLS over `raw`, and says who is at its other end. It waits for as long as the server
    /// likes; `place` stands in errors, and goes to the server as the name it is called by.
    ///
    /// # Errors
    /// `WrongIdentity`, `Impersonated`, `NotPackhorse` if it speaks no TLS 1.3, `HungUp`, `Damaged`
    /// or `Io`.
    pub async fn handshake<S: Stream>(
        &self,
        raw: S,
        place: &HostPort,
    ) -> Result<(ClientStream<S>, Pin), DialError> {
        let raw = ReadAhead::new(raw, READ_AHEAD_BYTES);
        let stream = TlsConnector::from(Arc::clone(&self.config))
            .connect(server_name(place), raw)
            .await
            .map_err(|error| dial_error(error, place.clone()))?;
        let chain = stream.get_ref().1.peer_certificates();
        let pin = chain.and_then(|chain| pin_shown(chain.first()?).ok());
        let pin = pin.ok_or_else(|| DialError::NotPackhorse {
            place: place.clone(),
            source: io::Error::other("it showed no certificate"),
        })?;
        Ok((stream, pin))
    }
}

/// Takes any certificate whose key has the pin, and checks that the server owns that key.
///
/// Names and dates are not looked at, nor who signed it: the pin comes from the address, by a way
/// that the user trusts, and says exactly which key it must be. A name or a date could only refuse
/// the right server (by an IP address, through a tunnel, with a wrong clock), never a wrong one.
#[derive(Debug)]
struct PinVerifier {
    expected: Option<Pin>,
    /// The kinds of keys that are offered and taken.
    algorithms: WebPkiSupportedAlgorithms,
}

/// An identity is an ECDSA P-256 key, so nothing else is offered or taken.
const IDENTITY_ALGORITHMS: WebPkiSupportedAlgorithms = WebPkiSupportedAlgorithms {
    all: &[ECDSA_P256_SHA256],
    mapping: &[(SignatureScheme::ECDSA_NISTP256_SHA256, &[ECDSA_P256_SHA256])],
};

impl ServerCertVerifier for PinVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let found = pin_shown(end_entity)?;
        match self.expected {
            Some(expected) if expected != found => {
                let wrong = OtherError(Arc::new(WrongPin { expected, found }));
                Err(CertificateError::Other(wrong).into())
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.2 is never spoken".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[derive(Debug)]
struct WrongPin {
    expected: Pin,
    found: Pin,
}

impl fmt::Display for WrongPin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "expected {}, found {}", self.expected, self.found)
    }
}

impl std::error::Error for WrongPin {}

fn pin_shown(certificate: &CertificateDer<'_>) -> Result<Pin, rustls::Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    Ok(pin_of(&parsed.subject_public_key_info()))
}

/// The host's name for the TLS hello, where it is one: a proxy may route by it. An address, or a
/// name that TLS has no form for, is left out.
fn server_name(place: &HostPort) -> ServerName<'static> {
    ServerName::try_from(place.host.clone())
        .unwrap_or_else(|_| ServerName::IpAddress(Ipv4Addr::UNSPECIFIED.into()))
}

/// Whose fault it is that a handshake failed.
fn dial_error(error: io::Error, place: HostPort) -> DialError {
    use rustls::Error as Tls;

    match engine_error(&error) {
        None => return stream_error(error, place),
        Some(Tls::InvalidCertificate(CertificateError::Other(OtherError(cause)))) => {
            if let Some(&WrongPin { expected, found }) = cause.downcast_ref() {
                return DialError::WrongIdentity {
                    place,
                    expected,
                    found,
                };
            }
        }
        // By then both ends have keys that depend on every byte so far, so that no accident can
        // have changed what was signed.
        Some(Tls::InvalidCertificate(CertificateError::BadSignature)) => {
            return DialError::Impersonated { place };
        }
        Some(
            Tls::DecryptError
            | Tls::PeerMisbehaved(_)
            | Tls::AlertReceived(
                AlertDescription::BadRecordMac
                | AlertDescription::DecryptError
                | AlertDescription::DecodeError
                | AlertDescription::IllegalParameter
                | AlertDescription::UnexpectedMessage,
            ),
        ) => {
            return DialError::Damaged {
                place,
                source: error,
            };
        }
        Some(_) => {}
    }
    DialError::NotPackhorse {
        place,
        source: error,
    }
}

fn stream_error(source: io::Error, place: HostPort) -> DialError {
    match source.kind() {
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => DialError::HungUp { place },
        _ => DialError::Io { place, source },
    }
}
