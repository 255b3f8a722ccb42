//! HTTP for browsers, `curl` and everything like them: all of hyper, ranges, archives, the page.
//!
//! [`Web`] answers on any stream that someone else accepted:
//!
//! ```
//! use std::sync::Arc;
//!
//! use packhorse_protocol::key::Pin;
//! use packhorse_storage::directory_source::DirectorySource;
//! use packhorse_storage::disk::Disk;
//! use packhorse_storage::workers::DiskWorkers;
//! use packhorse_web::{Conversation, Gatekeeper, Limits, Web, WebSettings};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! struct LetIn;
//! impl Gatekeeper for LetIn {
//!     fn admit(&self) -> bool {
//!         true
//!     }
//!     fn handle_complete(&self) {}
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let served = tempfile::tempdir()?;
//! # std::fs::write(served.path().join("greeting"), "hello")?;
//! let source = Arc::new(DirectorySource::open(Disk::new(), served.path())?);
//! let settings = WebSettings {
//!     token: None,
//!     pin: Pin::from([0; 16]),
//!     clear_text: true,
//!     limits: Limits::default(),
//! };
//! let web = Web::new(source, Arc::new(DiskWorkers::new(2, 16)?), settings);
//! let (mut client, server) = tokio::io::duplex(1 << 16);
//! let conversation = Conversation {
//!     stream: server,
//!     peer: "192.0.2.1:1".parse()?,
//!     is_http2: false,
//!     secure: false,
//!     gatekeeper: Arc::new(LetIn),
//!     pace: None,
//! };
//! client
//!     .write_all(b"GET /greeting HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
//!     .await?;
//! web.serve(conversation, std::future::pending()).await?;
//! let mut answer = String::new();
//! client.read_to_string(&mut answer).await?;
//! assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhello"));
//! # Ok(())
//! # }
//! ```

mod accept;
mod access;
mod activity;
mod answer;
mod archive;
mod body;
mod conditions;
mod disposition;
mod file;
mod http1;
mod http2;
mod json;
mod limits;
mod line;
mod listing;
mod markdown;
mod media_type;
mod page;
mod ranges;
mod readme;
mod record;
mod service;
mod target;

pub use self::limits::Limits;
pub use self::service::{Conversation, Gatekeeper, Pace, Web, WebError, WebSettings};
