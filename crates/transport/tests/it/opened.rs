//! One port, every client: what is opened for whom, and which certificate it is shown.

use std::time::Duration;

use packhorse_transport::accept::{HttpVersion, OpenError, Opened};
use packhorse_transport::identity::Identity;
use packhorse_transport::tls::{ServerTls, WebCertificate};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::parties::{OpenOutcome, PIPE_BYTES, open, shown_to, stranger};

/// An opened stream in a few words.
fn kind(opened: &OpenOutcome) -> &'static str {
    match opened {
        Ok(Opened::Native(_)) => "native",
        Ok(Opened::Http {
            version, secure, ..
        }) => match (version, secure) {
            (HttpVersion::Http1, true) => "https/1",
            (HttpVersion::Http2, true) => "https/2",
            (HttpVersion::Http1, false) => "http/1",
            (HttpVersion::Http2, false) => "http/2",
        },
        Ok(Opened::Clear { .. }) => "clear",
        Err(OpenError::Silent) => "silent",
        Err(OpenError::IdentityRefused) => "identity refused",
        Err(OpenError::Tls(_)) => "tls error",
        Err(OpenError::Io(_)) => "io error",
    }
}

/// A web certificate and its DER.
fn web_certificate() -> (WebCertificate, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed(vec!["host.test".to_owned()]).unwrap();
    let key = made.signing_key.serialize_pem();
    let web = WebCertificate::from_pem(made.cert.pem().as_bytes(), key.as_bytes()).unwrap();
    (web, made.cert.der().to_vec())
}

#[tokio::test(start_paused = true)]
async fn alpn_decides_within_tls() {
    let identity = Identity::generate().unwrap();
    let cases: [(&[&str], &str); 7] = [
        (&[], "https/1"),
        (&["http/1.1"], "https/1"),
        (&["h2"], "https/2"),
        (&["http/1.1", "h2"], "https/2"),
        (&["packhorse/1"], "native"),
        (&["h2", "packhorse/1", "http/1.1"], "native"),
        (&["smtp"], "tls error"),
    ];
    for (alpn, expected) in cases {
        let server = ServerTls::new(&identity, Some(web_certificate().0));
        let (near, far) = duplex(PIPE_BYTES);
        let name = ServerName::try_from("host.test").unwrap();
        let connecting = TlsConnector::from(stranger(alpn)).connect(name, near);
        let (_connected, opened) = tokio::join!(connecting, open(&server, far));
        assert_eq!(kind(&opened), expected, "{alpn:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_web_certificate_is_for_the_web_alone() {
    let identity = Identity::generate().unwrap();
    let own = shown_to(&["packhorse/1"], &ServerTls::new(&identity, None)).await;
    let (web, web_der) = web_certificate();
    let server = ServerTls::new(&identity, Some(web));
    let native = shown_to(&["packhorse/1"], &server).await;
    assert_eq!(native, own);
    for alpn in [&["h2"][..], &["http/1.1"], &[]] {
        assert_eq!(shown_to(alpn, &server).await.as_ref(), web_der);
    }
    let without = shown_to(&["h2"], &ServerTls::new(&identity, None)).await;
    assert_eq!(without, own);
}

#[test]
fn an_unusable_web_certificate_says_why() {
    let one = rcgen::generate_simple_self_signed(vec!["one.test".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(vec!["other.test".to_owned()]).unwrap();
    let (chain, key) = (one.cert.pem(), one.signing_key.serialize_pem());
    let other_key = other.signing_key.serialize_pem();
    let both = format!("{key}{chain}");
    let cases = [
        (chain.as_str(), key.as_str(), None),
        (&both, &both, None),
        ("", &key, Some("NoCertificate")),
        (&key, &key, Some("NoCertificate")),
        (&chain[..80], &key, Some("NoCertificate")),
        (&chain, "", Some("NoKey")),
        (&chain, &chain, Some("NoKey")),
        (&chain, &other_key, Some("Unusable")),
    ];
    for (chain, key, expected) in cases {
        let error = WebCertificate::from_pem(chain.as_bytes(), key.as_bytes()).err();
        let error = error.map(|error| format!("{error:?}"));
        let found = error.as_deref().map(|text| text.split('(').next().unwrap());
        assert_eq!(found, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn clear_text_is_opened_with_every_byte_in_place() {
    let server = ServerTls::new(&Identity::generate().unwrap(), None);
    let long = format!("GET /{} HTTP/1.1\r\n", "a".repeat(9000));
    let vague = format!("GET {} HTTP/1.1\r\n", "a".repeat(9000));
    let cases: [(&[&str], &str); 12] = [
        (&["GET / HTTP/1.1\r\nHost: a\r\n\r\n"], "http/1"),
        (&["G", "ET / HT", "TP/1.1\r", "\n\r\n"], "http/1"),
        (&["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"], "http/2"),
        (&["get / HTTP/1.1\r\n\r\n"], "http/1"),
        (&["notes.txt\n"], "clear"),
        (&["notes.txt"], "clear"),
        (&["README"], "clear"),
        (&["READ", "ME\n"], "clear"),
        (&["GET /\r\n"], "clear"),
        (&["GET / HTTP/1.1"], "clear"),
        (&[&long], "http/1"),
        (&[&vague], "clear"),
    ];
    for (pieces, expected) in cases {
        let (mut near, far) = duplex(PIPE_BYTES);
        let client = async {
            for piece in pieces {
                near.write_all(piece.as_bytes()).await.unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            near.shutdown().await.unwrap();
        };
        let ((), opened) = tokio::join!(client, open(&server, far));
        assert_eq!(kind(&opened), expected, "{pieces:?}");
        let (Ok(Opened::Clear { mut stream, .. }) | Ok(Opened::Http { mut stream, .. })) = opened
        else {
            panic!("expected clear text")
        };
        let mut read = String::new();
        stream.read_to_string(&mut read).await.unwrap();
        assert_eq!(read, pieces.concat());
        stream.write_all(b"answer").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        near.read_to_string(&mut answer).await.unwrap();
        assert_eq!(answer, "answer");
    }
}

/// A plain-mode client may send a name without a newline and keep its side open.
#[tokio::test(start_paused = true)]
async fn a_name_without_a_newline_waits_only_where_it_could_become_a_request() {
    let server = ServerTls::new(&Identity::generate().unwrap(), None).with_plain_mode();
    let cases = [
        ("notes.txt", 0),
        ("README.md", 0),
        ("README", 200),
        ("Makefile", 200),
        ("GET", 200),
        ("GET ", 200),
        ("GET my.txt", 200),
        ("GET /notes", 1000),
    ];
    for (name, waited) in cases {
        let (mut near, far) = duplex(PIPE_BYTES);
        near.write_all(name.as_bytes()).await.unwrap();
        let start = Instant::now();
        let Ok(Opened::Clear { silence, .. }) = open(&server, far).await else {
            panic!("{name} is not taken for a name");
        };
        assert!(start.elapsed().as_millis().abs_diff(waited) < 5, "{name}");
        assert!(silence.as_millis().abs_diff(waited) < 5, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_in_pieces_is_waited_for() {
    let (usual, plain) = (Duration::from_secs(5), Duration::from_millis(900));
    for (has_plain_mode, pause) in [(false, usual), (true, plain)] {
        let server = ServerTls::new(&Identity::generate().unwrap(), None);
        let server = if has_plain_mode {
            server.with_plain_mode()
        } else {
            server
        };
        let (mut near, far) = duplex(PIPE_BYTES);
        let client = async {
            for piece in ["GET /no", "tes HTTP", "/1.1\r\n"] {
                near.write_all(piece.as_bytes()).await.unwrap();
                tokio::time::sleep(pause).await;
            }
        };
        let ((), opened) = tokio::join!(client, open(&server, far));
        assert_eq!(kind(&opened), "http/1");
    }
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_opens_nothing() {
    let server = ServerTls::new(&Identity::generate().unwrap(), None);
    let (near, far) = duplex(PIPE_BYTES);
    drop(near);
    assert_eq!(kind(&open(&server, far).await), "silent");
    let (_near, far) = duplex(PIPE_BYTES);
    assert_eq!(kind(&open(&server, far).await), "io error");
}
