//! The two ends of a handshake, and whoever else may stand in for one of them.

use std::sync::Arc;
use std::time::Duration;

use packhorse_protocol::address::HostPort;
use packhorse_protocol::key::Pin;
use packhorse_transport::accept::{OpenError, Opened};
use packhorse_transport::dial::DialError;
use packhorse_transport::stream::Native;
use packhorse_transport::tls::{ClientStream, ClientTls, ServerStream, ServerTls};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{DuplexStream, duplex};
use tokio::time::timeout;

/// More than any handshake needs; on a paused clock it costs nothing.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) const PIPE_BYTES: usize = 1 << 16;

pub(crate) type DialOutcome = Result<(Native<ClientStream<DuplexStream>>, Pin), DialError>;
pub(crate) type OpenOutcome = Result<Opened<ServerStream<DuplexStream>>, OpenError>;

pub(crate) fn place() -> HostPort {
    HostPort::parse("host.test:7225", None).unwrap()
}

/// Dials through `pipe`. Silence becomes `TimedOut`, as a dialer makes it.
pub(crate) async fn dial(tls: &ClientTls, pipe: DuplexStream) -> DialOutcome {
    timeout(PATIENCE, tls.handshake(pipe, &place()))
        .await
        .unwrap_or_else(|_| {
            Err(DialError::TimedOut {
                place: place(),
                stage: packhorse_transport::dial::Stage::Handshake,
                after: PATIENCE,
            })
        })
}

/// Opens what comes through `pipe`, under a deadline as the server sets one.
pub(crate) async fn open(tls: &ServerTls, pipe: DuplexStream) -> OpenOutcome {
    timeout(PATIENCE, tls.open(pipe))
        .await
        .unwrap_or_else(|late| Err(OpenError::Io(late.into())))
}

pub(crate) async fn meet(client: &ClientTls, server: &ServerTls) -> (DialOutcome, OpenOutcome) {
    let (near, far) = duplex(PIPE_BYTES);
    tokio::join!(dial(client, near), open(server, far))
}

/// A TLS client that is not ours: it offers `alpn` and believes any certificate.
pub(crate) fn stranger(alpn: &[&str]) -> Arc<ClientConfig> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous))
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// The certificate that `server` shows to a stranger who offers `alpn`.
pub(crate) async fn shown_to(alpn: &[&str], server: &ServerTls) -> CertificateDer<'static> {
    let (near, far) = duplex(PIPE_BYTES);
    let connector = tokio_rustls::TlsConnector::from(stranger(alpn));
    let name = ServerName::try_from("host.test").unwrap();
    let (stream, _opened) = tokio::join!(connector.connect(name, near), open(server, far));
    let stream = stream.unwrap();
    stream.get_ref().1.peer_certificates().unwrap()[0].clone()
}

#[derive(Debug)]
struct Credulous;

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        unreachable!("TLS 1.2 is not compiled in")
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![
            SignatureScheme::ECDSA_NISTP256_SHA256,
            SignatureScheme::ECDSA_NISTP384_SHA384,
        ]
    }
}
