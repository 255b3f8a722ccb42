//! Byte streams for Packhorse: the kernel's TCP, our own, and TLS.
//!
//! A server and a client know streams only by the traits [`Accept`](accept::Accept) and
//! [`Dial`](dial::Dial); [`kernel`] has both for the kernel's TCP, [`stack`] for our
//! own, and [`tls`] is what any other TCP needs to have them too.
//!
//! ```
//! use packhorse_protocol::address::HostPort;
//! use packhorse_transport::accept::{Accept, Opened};
//! use packhorse_transport::dial::Dial;
//! use packhorse_transport::identity::Identity;
//! use packhorse_transport::kernel::{KernelDialer, KernelListener, ListenAt};
//! use packhorse_transport::tls::ServerTls;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let identity = Identity::generate()?;
//! let at = ListenAt::Addresses(vec!["127.0.0.1:0".parse()?]);
//! let listener = KernelListener::bind(&at, ServerTls::new(&identity, None), None)?;
//! let place = HostPort::parse(&listener.local_addresses()[0].to_string(), None)?;
//! let dialer = KernelDialer::new(place, Some(identity.pin()));
//! let (dialled, opened) = tokio::join!(dialer.dial(), async {
//!     let (raw, _peer) = listener.accept().await.expect("a connection arrives");
//!     listener.open(raw).await
//! });
//! assert_eq!(dialled?.pin, identity.pin());
//! assert!(matches!(opened?, Opened::Native(_)));
//! # Ok(())
//! # }
//! ```

pub mod accept;
pub mod dial;
pub mod first_bytes;
pub mod frame_buffers;
pub mod framed;
mod goal;
pub mod identity;
pub mod kernel;
pub mod processing;
pub mod read_ahead;
pub mod stack;
pub mod stream;
pub mod throttle;
pub mod tls;
#[cfg(target_os = "linux")]
pub mod tun;
