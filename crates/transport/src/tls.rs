//! TLS over any stream: the same settings on a kernel socket, on our own TCP and on a pipe in a
//! test.
//!
//! TLS 1.3 and nothing older, for everyone: `rustls` is built without 1.2.

use std::io;

use packhorse_protocol::proof::{ChannelBinding, EXPORTER_LABEL};
use rustls::ConnectionCommon;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};

mod client;
mod server;

pub use client::{AnyServerTls, ClientStream, ClientTls};
pub use server::{ServerStream, ServerTls, WebCertificate, WebCertificateError};

/// The native protocol's name in ALPN (RFC 7301), its version included.
pub const NATIVE_ALPN: &[u8] = b"packhorse/1";

/// What a connection takes from its writer before the wire has taken it: sixteen records, so that
/// one system call sends many.
pub const WRITE_BUFFER_BYTES_MAX: usize = 256 * 1024;

/// What the native protocol is encrypted with; the same on both sides.
///
/// AES-128 comes first because it is the fastest of the three where there is hardware for it, and
/// as safe for this. The hybrid exchange comes first because what is recorded today must stay
/// unreadable to the machines of later; it costs a kilobyte and a tenth of a millisecond.
fn native_provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
        ],
        ..default_provider()
    }
}

/// What both ends export when the handshake is complete (RFC 8446 §7.5).
fn connection_binding<Data>(connection: &ConnectionCommon<Data>) -> io::Result<ChannelBinding> {
    connection
        .export_keying_material([0; 32], EXPORTER_LABEL, None)
        .map(ChannelBinding)
        .map_err(io::Error::other)
}

/// The error of the TLS engine inside an error of the stream, if it is one.
fn engine_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}
