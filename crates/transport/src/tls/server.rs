//! The server's end: one port, and every client finds what it speaks.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin as Pinned;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{Acceptor, NoServerSessionStorage};
use rustls::{AlertDescription, ServerConfig};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, timeout};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::{NATIVE_ALPN, WRITE_BUFFER_BYTES_MAX, connection_binding, engine_error};
use crate::accept::{HttpVersion, OpenError, Opened};
use crate::first_bytes::{FIRST_LINE_BYTES_MAX, FirstBytes, pause_after};
use crate::identity::Identity;
use crate::read_ahead::ReadAhead;
use crate::stream::{Native, Stream};

const HTTP1_ALPN: &[u8] = b"http/1.1";
const HTTP2_ALPN: &[u8] = b"h2";

/// Opens connections of every kind, over any stream.
#[derive(Debug, Clone)]
pub struct ServerTls {
    native: Arc<ServerConfig>,
    web: Arc<ServerConfig>,
    has_plain_mode: bool,
}

impl ServerTls {
    /// Shows `identity` to native clients, and to all others `web` or, without one, `identity`.
    #[must_use]
    pub fn new(identity: &Identity, web: Option<WebCertificate>) -> Self {
        let own = |provider| {
            server_config(
                provider,
                vec![identity.certificate()],
                identity.private_key(),
            )
            .expect("an identity's certificate is made from its key")
        };
        let mut native = own(super::native_provider());
        native.alpn_protocols = vec![NATIVE_ALPN.to_vec()];
        // Native connections are few and long: a resumed one would save little, and every ticket
        // that is given out has to be remembered.
        native.send_tls13_tickets = 0;
        native.session_storage = Arc::new(NoServerSessionStorage {});
        let mut web = match web {
            Some(WebCertificate { config }) => *config,
            None => own(default_provider()),
        };
        web.alpn_protocols = vec![HTTP2_ALPN.to_vec(), HTTP1_ALPN.to_vec()];
        Self {
            native: Arc::new(native),
            web: Arc::new(web),
            has_plain_mode: false,
        }
    }

    /// Expects clients of the plain mode too: what could become an HTTP request is a name once
    /// nothing more has come for a moment. Without this it is waited for.
    #[must_use]
    pub fn with_plain_mode(self) -> Self {
        let has_plain_mode = true;
        Self {
            has_plain_mode,
            ..self
        }
    }

    /// Learns from its first bytes what `raw` carries, and shakes hands where that is TLS. It
    /// waits for as long as the client likes.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn open<S: Stream>(&self, raw: S) -> Result<Opened<ServerStream<S>>, OpenError> {
        let mut raw = ReadAhead::new(raw, FIRST_LINE_BYTES_MAX);
        let (first_bytes, silence) = first_bytes(&mut raw, self.has_plain_mode)
            .await
            .map_err(OpenError::Io)?;
        match first_bytes {
            FirstBytes::NeedMore => Err(OpenError::Silent),
            FirstBytes::Tls => self.open_tls(raw).await,
            FirstBytes::Http | FirstBytes::Http2 => Ok(Opened::Http {
                stream: ServerStream::clear(raw),
                version: match first_bytes {
                    FirstBytes::Http2 => HttpVersion::Http2,
                    _ => HttpVersion::Http1,
                },
                secure: false,
            }),
            FirstBytes::Other => Ok(Opened::Clear {
                stream: ServerStream::clear(raw),
                silence,
            }),
        }
    }

    async fn open_tls<S: Stream>(
        &self,
        raw: ReadAhead<S>,
    ) -> Result<Opened<ServerStream<S>>, OpenError> {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), raw)
            .await
            .map_err(open_error)?;
        // The hello decides on the whole configuration and not only on the certificate, so that
        // what is shown and what is agreed on cannot differ.
        let is_native = hello
            .client_hello()
            .alpn()
            .is_some_and(|mut offered| offered.any(|protocol| protocol == NATIVE_ALPN));
        let config = if is_native { &self.native } else { &self.web };
        let mut stream = hello
            .into_stream_with(Arc::clone(config), |connection| {
                connection.set_buffer_limit(Some(WRITE_BUFFER_BYTES_MAX));
            })
            .await
            .map_err(open_error)?;
        // Requests are short, and a client that asks for nothing is to cost little.
        stream.get_mut().0.read_no_more_ahead();
        let (_, connection) = stream.get_ref();
        if is_native {
            let binding = connection_binding(connection).map_err(OpenError::Tls)?;
            let stream = ServerStream(Layer::Tls(Box::new(stream)));
            return Ok(Opened::Native(Native { stream, binding }));
        }
        let version = match connection.alpn_protocol() {
            Some(HTTP2_ALPN) => HttpVersion::Http2,
            _ => HttpVersion::Http1,
        };
        Ok(Opened::Http {
            stream: ServerStream(Layer::Tls(Box::new(stream))),
            version,
            secure: true,
        })
    }
}

/// Reads until it is clear what is spoken, and says for how long nothing had come by then;
/// `NeedMore` if nothing ever comes.
async fn first_bytes<S: AsyncRead + Unpin>(
    raw: &mut ReadAhead<S>,
    has_plain_mode: bool,
) -> io::Result<(FirstBytes, Duration)> {
    if raw.look_further().await? == 0 {
        return Ok((FirstBytes::NeedMore, Duration::ZERO));
    }
    loop {
        match FirstBytes::classify(raw.unread()) {
            FirstBytes::NeedMore => {}
            decided => return Ok((decided, Duration::ZERO)),
        }
        let since = Instant::now();
        let looked = match has_plain_mode {
            true => timeout(pause_after(raw.unread()), raw.look_further()).await,
            false => Ok(raw.look_further().await),
        };
        match looked {
            Ok(Ok(1..)) => {}
            Ok(Err(error)) => return Err(error),
            Ok(Ok(0)) | Err(_) => return Ok((FirstBytes::Other, since.elapsed())),
        }
    }
}

fn open_error(error: io::Error) -> OpenError {
    match engine_error(&error) {
        // What a client sends whose check of the certificate fails (RFC 8446 §6.2).
        Some(rustls::Error::AlertReceived(
            AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA,
        )) => OpenError::IdentityRefused,
        Some(_) => OpenError::Tls(error),
        None => OpenError::Io(error),
    }
}

fn server_config(
    provider: CryptoProvider,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has suites for TLS 1.3")
        .with_no_client_auth()
        .with_single_cert(chain, key)
}

/// A certificate that browsers know, with its chain and key.
pub struct WebCertificate {
    config: Box<ServerConfig>,
}

/// Why a certificate cannot be shown. The caller knows the files and names them.
#[derive(Debug, Error)]
pub enum WebCertificateError {
    /// The chain is not PEM, or no certificate is in it.
    #[error("no certificate was found: PEM with a `BEGIN CERTIFICATE` section is needed")]
    NoCertificate,
    /// The key is not PEM, or no private key is in it.
    #[error(
        "no private key was found: PEM with a `BEGIN PRIVATE KEY` section is needed, unencrypted"
    )]
    NoKey,
    /// The two do not belong together, or are of a kind that TLS 1.3 has no use for.
    #[error("the certificate and its key cannot be used: {0}")]
    Unusable(#[source] rustls::Error),
}

impl WebCertificate {
    /// Reads a chain, the server's own certificate first, and its key. Both may be in one file.
    ///
    /// # Errors
    /// [`WebCertificateError`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, WebCertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<_, _>>()
            .map_err(|_| WebCertificateError::NoCertificate)?;
        if chain.is_empty() {
            return Err(WebCertificateError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| WebCertificateError::NoKey)?;
        let config =
            server_config(default_provider(), chain, key).map_err(WebCertificateError::Unusable)?;
        Ok(Self {
            config: Box::new(config),
        })
    }
}

impl fmt::Debug for WebCertificate {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("WebCertificate(…)")
    }
}

/// What a server reads from and writes to: TLS over `S`, or `S` itself.
#[derive(Debug)]
pub struct ServerStream<S>(Layer<S>);

impl<S> ServerStream<S> {
    fn clear(mut raw: ReadAhead<S>) -> Self {
        raw.read_no_more_ahead();
        Self(Layer::Clear(raw))
    }

    /// What lies below all layers.
    pub(crate) fn raw(&self) -> &S {
        match &self.0 {
            Layer::Clear(stream) => stream.inner(),
            Layer::Tls(stream) => stream.get_ref().0.inner(),
        }
    }
}

#[derive(Debug)]
enum Layer<S> {
    Clear(ReadAhead<S>),
    Tls(Box<TlsStream<ReadAhead<S>>>),
}

impl<S: Stream> AsyncRead for ServerStream<S> {
    fn poll_read(
        self: Pinned<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Layer::Clear(stream) => Pinned::new(stream).poll_read(cx, out),
            Layer::Tls(stream) => Pinned::new(stream).poll_read(cx, out),
        }
    }
}

impl<S: Stream> AsyncWrite for ServerStream<S> {
    fn poll_write(
        self: Pinned<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Layer::Clear(stream) => Pinned::new(stream).poll_write(cx, bytes),
            Layer::Tls(stream) => Pinned::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pinned<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Layer::Clear(stream) => Pinned::new(stream).poll_write_vectored(cx, slices),
            Layer::Tls(stream) => Pinned::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Layer::Clear(stream) => stream.is_write_vectored(),
            Layer::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Layer::Clear(stream) => Pinned::new(stream).poll_flush(cx),
            Layer::Tls(stream) => Pinned::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pinned<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Layer::Clear(stream) => Pinned::new(stream).poll_shutdown(cx),
            Layer::Tls(stream) => Pinned::new(stream).poll_shutdown(cx),
        }
    }
}
