//! What carries IP packets.

use std::future::Future;
use std::io;

/// Something that carries IP packets, as a TUN device does.
pub trait PacketDevice: Send + Sync + 'static {
    /// Waits for a packet and puts it into `buffer`; gives its length. May be dropped while it
    /// waits.
    ///
    /// # Errors
    /// The device's; nothing will come any more.
    fn recv(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;

    /// Sends a packet. Nothing is received meanwhile, so it must not wait for long: a device
    /// that cannot take a packet may lose it.
    ///
    /// # Errors
    /// The device's; nothing can be sent any more.
    fn send(&self, packet: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}
