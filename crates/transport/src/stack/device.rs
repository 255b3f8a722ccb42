//! What carries IP packets.

use std::future::Future;
use std::io;
use std::ops::Range;

use packhorse_tcp::Transmit;

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

    /// Like `recv`, for a device that verifies packets or puts segments together.
    ///
    /// # Errors
    /// As `recv`.
    fn recv_packet(
        &self,
        buffer: &mut [u8],
    ) -> impl Future<Output = io::Result<ReceivedPacket>> + Send {
        async {
            let length = self.recv(buffer).await?;
            Ok(ReceivedPacket::unverified(length))
        }
    }

    /// Another packet, if one is there: so that many are taken before any is answered.
    ///
    /// # Errors
    /// As `recv`.
    fn try_recv_packet(&self, _buffer: &mut [u8]) -> io::Result<Option<ReceivedPacket>> {
        Ok(None)
    }

    /// Sends a run of segments; a device that can cut it up by itself gets it whole.
    ///
    /// # Errors
    /// As `send`.
    fn send_run(&self, run: &Transmit) -> impl Future<Output = io::Result<()>> + Send {
        send_packets(self, run)
    }
}

/// Sends a run of segments packet by packet, as a device does that cannot cut it up.
///
/// # Errors
/// As [`PacketDevice::send`].
pub async fn send_packets(device: &(impl PacketDevice + ?Sized), run: &Transmit) -> io::Result<()> {
    let (mut packets, mut ends) = (Vec::new(), Vec::new());
    run.encode(&mut packets, &mut ends);
    let mut start = 0;
    for end in ends {
        device.send(&packets[start..end]).await?;
        start = end;
    }
    Ok(())
}

/// A packet in the buffer that a device was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedPacket {
    /// Where in the buffer it lies, from its IP header on.
    pub range: Range<usize>,
    /// Whether the checksum of TCP need not be looked at: the device did, or the packet was never
    /// on a wire.
    pub is_verified: bool,
}

impl ReceivedPacket {
    /// A packet at the beginning of the buffer, about which the device says nothing.
    #[must_use]
    pub const fn unverified(length: usize) -> Self {
        Self {
            range: 0..length,
            is_verified: false,
        }
    }
}
