//! Who may be taken for the server, and what else is refused.

use std::sync::Arc;

use packhorse_protocol::key::Pin;
use packhorse_transport::accept::{OpenError, Opened};
use packhorse_transport::dial::DialError;
use packhorse_transport::identity::Identity;
use packhorse_transport::tls::{AnyServerTls, ClientTls, ServerTls, WebCertificate};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::{default_provider, sign};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use crate::parties::{DialOutcome, PATIENCE, PIPE_BYTES, dial, meet, open, place, shown_to};

#[tokio::test(start_paused = true)]
async fn both_ends_agree_on_the_binding_and_no_two_connections_share_one() {
    let identity = Identity::generate().unwrap();
    let server = ServerTls::new(&identity, None);
    let mut bindings = Vec::new();
    for expected in [Some(identity.pin()), None] {
        let (dialled, opened) = meet(&ClientTls::new(expected), &server).await;
        let (native, pin) = dialled.unwrap();
        assert_eq!(pin, identity.pin());
        let Ok(Opened::Native(other)) = opened else {
            panic!("expected a native stream: {opened:?}")
        };
        assert_eq!(native.binding.0, other.binding.0);
        bindings.push(native.binding.0);
    }
    assert_ne!(bindings[0], bindings[1]);
}

#[tokio::test(start_paused = true)]
async fn an_end_is_told_from_a_cut() {
    let identity = Identity::generate().unwrap();
    let (client, server) = (ClientTls::new(None), ServerTls::new(&identity, None));
    for orderly in [true, false] {
        let (dialled, opened) = meet(&client, &server).await;
        let mut near = dialled.unwrap().0.stream;
        let Ok(Opened::Native(far)) = opened else {
            panic!("expected a native stream: {opened:?}")
        };
        let mut far = far.stream;
        let sent: Vec<u8> = (0..3_000_000_u32)
            .map(|index| (index % 251) as u8)
            .collect();
        let mut received = Vec::new();
        let sender = async {
            far.write_all(&sent).await.unwrap();
            if orderly {
                far.shutdown().await.unwrap();
            } else {
                far.flush().await.unwrap();
                drop(far);
            }
        };
        let (result, ()) = tokio::join!(near.read_to_end(&mut received), sender);
        assert!(received == sent);
        assert_eq!(result.is_ok(), orderly);
    }
}

#[tokio::test(start_paused = true)]
async fn another_identity_is_refused() {
    let identity = Identity::generate().unwrap();
    let expected = Identity::generate().unwrap().pin();
    let server = ServerTls::new(&identity, None);
    let (dialled, opened) = meet(&ClientTls::new(Some(expected)), &server).await;
    let error = dialled.unwrap_err();
    assert!(
        matches!(error, DialError::WrongIdentity { expected: e, found, .. }
            if e == expected && found == identity.pin()),
        "{error}"
    );
    assert!(error.is_refusal_of_trust() && !error.is_worth_retrying());
    assert!(
        matches!(opened, Err(OpenError::IdentityRefused)),
        "{opened:?}"
    );
}

/// A server with our settings in everything but what a case changes.
fn counterfeit(
    certificate: CertificateDer<'static>,
    key: &rcgen::KeyPair,
    alpn: &[&str],
) -> Arc<ServerConfig> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = sign::any_supported_type(&key).unwrap();
    let shown = Shows(Arc::new(CertifiedKey::new(vec![certificate], key)));
    let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// Shows a certificate whether or not the key belongs to it.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesServerCert for Shows {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

async fn dial_counterfeit(expected: Option<Pin>, config: Arc<ServerConfig>) -> DialOutcome {
    let (near, far) = duplex(PIPE_BYTES);
    let client = ClientTls::new(expected);
    let acceptor = tokio_rustls::TlsAcceptor::from(config);
    let (dialled, _) = tokio::join!(dial(&client, near), acceptor.accept(far));
    dialled
}

/// The certificate is public: whoever has once connected can show it. Only the signature tells.
#[tokio::test(start_paused = true)]
async fn a_stolen_certificate_without_its_key_is_refused() {
    let identity = Identity::generate().unwrap();
    let stolen = shown_to(&["packhorse/1"], &ServerTls::new(&identity, None)).await;
    let own_key = rcgen::KeyPair::generate().unwrap();
    for expected in [Some(identity.pin()), None] {
        let server = counterfeit(stolen.clone(), &own_key, &["packhorse/1"]);
        let error = dial_counterfeit(expected, server).await.unwrap_err();
        assert!(matches!(error, DialError::Impersonated { .. }), "{error}");
        assert!(error.is_refusal_of_trust() && !error.is_worth_retrying());
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_of_another_kind_is_not_taken_for_one() {
    let p256 = rcgen::KeyPair::generate().unwrap();
    let p384 = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let cases: [(&str, &rcgen::KeyPair, &[&str]); 4] = [
        ("no ALPN", &p256, &[]),
        ("a web server", &p256, &["h2", "http/1.1"]),
        ("a later version alone", &p256, &["packhorse/2"]),
        ("a key of another kind", &p384, &["packhorse/1"]),
    ];
    for (what, key, alpn) in cases {
        let certificate = rcgen::CertificateParams::default()
            .self_signed(key)
            .unwrap();
        let server = counterfeit(certificate.der().clone(), key, alpn);
        let error = dial_counterfeit(None, server).await.unwrap_err();
        assert!(
            matches!(error, DialError::NotPackhorse { .. }),
            "{what}: {error}"
        );
        assert!(!error.is_worth_retrying());
    }
}

/// Even the right key is not enough where the protocol is not agreed on.
#[tokio::test(start_paused = true)]
async fn the_right_identity_without_alpn_is_refused() {
    let identity = Identity::generate().unwrap();
    let certificate = shown_to(&["packhorse/1"], &ServerTls::new(&identity, None)).await;
    let key = rcgen::KeyPair::from_pem(&identity.to_pem()).unwrap();
    let server = counterfeit(certificate, &key, &[]);
    let error = dial_counterfeit(Some(identity.pin()), server)
        .await
        .unwrap_err();
    assert!(matches!(error, DialError::NotPackhorse { .. }), "{error}");
}

/// A ServerHello as TLS 1.2 has it: a random, no session, AES-128-GCM, no extensions.
fn tls12_server_hello() -> Vec<u8> {
    let mut hello = vec![0x16, 3, 3, 0, 42, 2, 0, 0, 38, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0xc0, 0x2b, 0]);
    hello
}

#[tokio::test(start_paused = true)]
async fn what_a_port_may_answer_instead() {
    let reading_only: &[u8] = b"";
    let cases: [(&str, &[u8], bool, &str); 7] = [
        ("SSH", b"SSH-2.0-OpenSSH_9.9\r\n", false, "NotPackhorse"),
        (
            "HTTP",
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            true,
            "NotPackhorse",
        ),
        ("plain", b"no such file\n", true, "NotPackhorse"),
        ("TLS 1.2", &tls12_server_hello(), false, "NotPackhorse"),
        ("an alert", &[0x15, 3, 3, 0, 2, 2, 70], true, "NotPackhorse"),
        ("nothing", reading_only, true, "HungUp"),
        ("silence", reading_only, false, "TimedOut"),
    ];
    for (what, answer, leaves, expected) in cases {
        let (near, mut far) = duplex(PIPE_BYTES);
        let client = ClientTls::new(None);
        let port = async {
            let mut hello = [0; 64];
            far.read_exact(&mut hello).await.unwrap();
            far.write_all(answer).await.unwrap();
            if leaves {
                drop(far);
                return None;
            }
            Some(far)
        };
        let (dialled, _far) = tokio::join!(dial(&client, near), port);
        let error = dialled.unwrap_err();
        assert!(
            format!("{error:?}").starts_with(expected),
            "{what}: {error:?}"
        );
        assert!(error.to_string().contains("host.test:7225"), "{error}");
    }
}

/// A ClientHello that offers TLS 1.2 and nothing later, for the native protocol.
fn tls12_client_hello() -> Vec<u8> {
    let alpn = [&[0, 16, 0, 14, 0, 12, 11][..], b"packhorse/1"].concat();
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let signatures = [0, 13, 0, 4, 0, 2, 4, 3];
    let extensions = [&alpn[..], &groups, &signatures].concat();
    let mut body = vec![3, 3];
    body.extend([7; 32]);
    body.extend([
        0,
        0,
        2,
        0xc0,
        0x2b,
        1,
        0,
        0,
        u8::try_from(extensions.len()).unwrap(),
    ]);
    body.extend(extensions);
    let length = u8::try_from(body.len()).unwrap();
    let mut hello = vec![0x16, 3, 1, 0, length + 4, 1, 0, 0, length];
    hello.extend(body);
    hello
}

#[tokio::test(start_paused = true)]
async fn tls12_is_refused_with_an_alert() {
    let server = ServerTls::new(&Identity::generate().unwrap(), None);
    let (mut near, far) = duplex(PIPE_BYTES);
    near.write_all(&tls12_client_hello()).await.unwrap();
    let opened = open(&server, far).await;
    assert!(matches!(opened, Err(OpenError::Tls(_))), "{opened:?}");
    let mut answer = Vec::new();
    near.read_to_end(&mut answer).await.unwrap();
    // RFC 8446 §6: alert, fatal, protocol_version.
    assert_eq!((answer[0], &answer[5..]), (0x15, &[2, 70][..]));
}

#[tokio::test(start_paused = true)]
async fn half_a_hello_waits_no_longer_than_its_deadline() {
    let server = ServerTls::new(&Identity::generate().unwrap(), None);
    let (mut near, far) = duplex(PIPE_BYTES);
    near.write_all(&tls12_client_hello()[..40]).await.unwrap();
    let start = tokio::time::Instant::now();
    assert!(open(&server, far).await.is_err());
    assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
}

/// What `tls` makes of `server`: the pin that it saw, after a few bytes went there and back.
async fn meet_any(tls: &AnyServerTls, server: &ServerTls) -> Result<Pin, DialError> {
    let (near, far) = duplex(PIPE_BYTES);
    let client = async {
        let (mut stream, pin) = tls.handshake(near, &place()).await?;
        stream.write_all(b"ping").await.unwrap();
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"pong");
        Ok(pin)
    };
    let server = async {
        if let Ok(Opened::Http { mut stream, .. }) = open(server, far).await {
            stream.read_exact(&mut [0; 4]).await.unwrap();
            stream.write_all(b"pong").await.unwrap();
            stream.flush().await.unwrap();
        }
    };
    tokio::join!(client, server).0
}

#[tokio::test(start_paused = true)]
async fn any_server_is_known_by_its_key() {
    let identity = Identity::generate().unwrap();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let names = vec!["elsewhere.test".to_owned()];
    let made = rcgen::CertificateParams::new(names)
        .unwrap()
        .self_signed(&key)
        .unwrap();
    let web = WebCertificate::from_pem(made.pem().as_bytes(), key.serialize_pem().as_bytes());
    let own = ServerTls::new(&identity, None);
    let other = ServerTls::new(&identity, Some(web.unwrap()));
    // Whatever its name and its kind of key.
    let pin = meet_any(&AnyServerTls::new(None), &other).await.unwrap();
    assert_ne!(pin, identity.pin());
    assert_eq!(
        meet_any(&AnyServerTls::new(Some(pin)), &other)
            .await
            .unwrap(),
        pin
    );
    assert_eq!(
        meet_any(&AnyServerTls::new(None), &own).await.unwrap(),
        identity.pin()
    );
    let wrong = meet_any(&AnyServerTls::new(Some(pin)), &own)
        .await
        .unwrap_err();
    assert!(wrong.is_refusal_of_trust(), "{wrong}");
}
