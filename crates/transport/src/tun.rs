//! A TUN device: real IP packets, exchanged with the kernel.
//!
//! Needs the right to make network devices (`CAP_NET_ADMIN`).

use std::io::{self, IoSlice};
use std::net::Ipv4Addr;

use packhorse_tcp::Transmit;

use crate::stack::{PacketDevice, ReceivedPacket, send_packets};

/// A TUN device; it goes when it is dropped.
pub struct TunDevice {
    device: tun_rs::AsyncDevice,
    /// Each packet stands behind a `virtio_net_hdr`.
    offload: bool,
}

impl TunDevice {
    /// Makes the device `name` and gives the kernel's end of it `address`.
    ///
    /// # Errors
    /// No right to, no TUN in this kernel, the name or address in use.
    pub fn open(name: &str, address: Ipv4Addr, prefix: u8, mtu_bytes: u16) -> io::Result<Self> {
        Self::make(name, address, prefix, mtu_bytes, false)
    }

    /// Like `open`, and runs of segments cross it in one piece, as if a card cut them up and put
    /// them together (`IFF_VNET_HDR`, `TUNSETOFFLOAD`); checksums of TCP are not made.
    ///
    /// # Errors
    /// As `open`.
    pub fn open_offloading(
        name: &str,
        address: Ipv4Addr,
        prefix: u8,
        mtu_bytes: u16,
    ) -> io::Result<Self> {
        Self::make(name, address, prefix, mtu_bytes, true)
    }

    fn make(
        name: &str,
        address: Ipv4Addr,
        prefix: u8,
        mtu_bytes: u16,
        offload: bool,
    ) -> io::Result<Self> {
        let builder = tun_rs::DeviceBuilder::new()
            .name(name)
            .mtu(mtu_bytes)
            .offload(offload)
            .ipv4(address, prefix, None);
        let device = builder.build_async()?;
        Ok(Self { device, offload })
    }

    /// What `length` bytes in `buffer` are.
    fn received(&self, buffer: &[u8], length: usize) -> ReceivedPacket {
        if !self.offload {
            return ReceivedPacket::unverified(length);
        }
        let flags = buffer.first().copied().unwrap_or(0);
        ReceivedPacket {
            range: VIRTIO_HEADER_BYTES.min(length)..length,
            // One whose checksum is still to be completed comes from this machine.
            is_verified: flags & (NEEDS_CHECKSUM | CHECKSUM_IS_RIGHT) != 0,
        }
    }
}

/// The flags and types of `struct virtio_net_hdr` (virtio 1.2 §5.1.6), in this machine's byte
/// order.
const VIRTIO_HEADER_BYTES: usize = 10;
const NEEDS_CHECKSUM: u8 = 1;
const CHECKSUM_IS_RIGHT: u8 = 2;
const NOT_CUT: u8 = 0;
const CUT_TCP_V4: u8 = 1;
const CUT_TCP_V6: u8 = 4;

/// Where the checksum is in a TCP header.
const CHECKSUM_AT: u16 = 16;

/// What tells the kernel to complete the checksum of `run`, and where to cut it up.
fn virtio_header(run: &Transmit, header_bytes: usize, tcp_at: usize) -> [u8; VIRTIO_HEADER_BYTES] {
    let half = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_ne_bytes();
    let is_cut = run.segments() > 1;
    let kind = match (is_cut, run.whole().destination.is_ipv4()) {
        (false, _) => NOT_CUT,
        (true, true) => CUT_TCP_V4,
        (true, false) => CUT_TCP_V6,
    };
    let segment = half(if is_cut { run.segment_bytes() } else { 0 });
    let (headers, start) = (half(header_bytes), half(tcp_at));
    let checksum = CHECKSUM_AT.to_ne_bytes();
    [
        NEEDS_CHECKSUM,
        kind,
        headers[0],
        headers[1],
        segment[0],
        segment[1],
        start[0],
        start[1],
        checksum[0],
        checksum[1],
    ]
}

impl PacketDevice for TunDevice {
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let packet = self.recv_packet(buffer).await?;
        let length = packet.range.len();
        buffer.copy_within(packet.range, 0);
        Ok(length)
    }

    async fn recv_packet(&self, buffer: &mut [u8]) -> io::Result<ReceivedPacket> {
        let length = self.device.recv(buffer).await?;
        Ok(self.received(buffer, length))
    }

    fn try_recv_packet(&self, buffer: &mut [u8]) -> io::Result<Option<ReceivedPacket>> {
        match self.device.try_recv(buffer) {
            Ok(length) => Ok(Some(self.received(buffer, length))),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn send(&self, packet: &[u8]) -> io::Result<()> {
        let parts = [
            IoSlice::new(&[0; VIRTIO_HEADER_BYTES]),
            IoSlice::new(packet),
        ];
        let parts = if self.offload {
            &parts[..]
        } else {
            &parts[1..]
        };
        self.device.send_vectored(parts).await.map(|_| ())
    }

    async fn send_run(&self, run: &Transmit) -> io::Result<()> {
        if !self.offload {
            return send_packets(self, run).await;
        }
        let mut headers = Vec::new();
        let tcp_at = run.encode_headers(&mut headers);
        let before = virtio_header(run, headers.len(), tcp_at);
        let parts = [
            IoSlice::new(&before),
            IoSlice::new(&headers),
            IoSlice::new(&run.whole().segment.payload),
        ];
        self.device.send_vectored(&parts).await.map(|_| ())
    }
}
