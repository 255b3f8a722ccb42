//! A TUN device: real IP packets, exchanged with the kernel.
//!
//! Needs the right to make network devices (`CAP_NET_ADMIN`).

use std::io;
use std::net::Ipv4Addr;

use crate::stack::PacketDevice;

/// A TUN device; it goes when it is dropped.
pub struct TunDevice(tun_rs::AsyncDevice);

impl TunDevice {
    /// Makes the device `name` and gives the kernel's end of it `address`.
    ///
    /// # Errors
    /// No right to, no TUN in this kernel, the name or address in use.
    pub fn open(name: &str, address: Ipv4Addr, prefix: u8, mtu_bytes: u16) -> io::Result<Self> {
        let builder = tun_rs::DeviceBuilder::new()
            .name(name)
            .mtu(mtu_bytes)
            .ipv4(address, prefix, None);
        builder.build_async().map(Self)
    }
}

impl PacketDevice for TunDevice {
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer).await
    }

    async fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.0.send(packet).await.map(|_| ())
    }
}
