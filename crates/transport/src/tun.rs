//! Our own TCP over a TUN device: real IP packets, exchanged with the kernel.
//!
//! Needs the right to make network devices (`CAP_NET_ADMIN`). A device carries one
//! connection at a time; packets for any other are answered with a reset.

use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use packhorse_tcp::{
    Config, Connection, Failure, Flags, Instant, IsnGenerator, Packet, Read, State, answer_stranger,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::time::Instant as Clock;

/// What the user's side of a stream holds in each direction.
const STREAM_BUFFER_BYTES: usize = 256 << 10;

/// The largest packet that a device can hand over.
const PACKET_BYTES_MAX: usize = 65_535;

/// How long a device is left alone if a connection wants nothing.
const IDLE: Duration = Duration::from_secs(3_600);

/// Something that carries IP packets.
pub trait PacketDevice: Send + Sync + 'static {
    /// Waits for a packet and puts it into `buffer`; gives its length.
    ///
    /// # Errors
    /// The device's.
    fn recv(&self, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;

    /// Sends a packet.
    ///
    /// # Errors
    /// The device's.
    fn send(&self, packet: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
}

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

/// Opens a connection from `local` to `remote` through `device`.
///
/// The stream is there at once; it ends, or reads nothing, if there is no answer. It must
/// be called within a runtime. The task gives what ended the connection, once both sides
/// have closed.
#[must_use]
pub fn connect(
    device: impl PacketDevice,
    config: &Config,
    isns: &IsnGenerator,
    local: SocketAddr,
    remote: SocketAddr,
) -> (DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
    let start = Clock::now();
    let isn = isns.generate(local, remote, Instant::default());
    let connection = Connection::connect(config, local, remote, isn, Instant::default());
    spawn(device, connection, start)
}

/// Waits for a connection to `local` on `device`.
///
/// # Errors
/// The device's.
pub async fn accept<D: PacketDevice>(
    device: D,
    config: &Config,
    isns: &IsnGenerator,
    local: SocketAddr,
) -> io::Result<(DuplexStream, tokio::task::JoinHandle<io::Result<()>>)> {
    let start = Clock::now();
    let mut buffer = vec![0; PACKET_BYTES_MAX];
    loop {
        let length = device.recv(&mut buffer).await?;
        let Ok(packet) = Packet::parse(&Bytes::copy_from_slice(&buffer[..length])) else {
            continue;
        };
        let now = since(start);
        let isn = isns.generate(packet.destination, packet.source, now);
        if packet.destination == local
            && let Some(connection) = Connection::accept(config, &packet, isn, now)
        {
            return Ok(spawn(device, connection, start));
        }
        refuse(&device, &packet).await?;
    }
}

fn spawn(
    device: impl PacketDevice,
    connection: Connection,
    start: Clock,
) -> (DuplexStream, tokio::task::JoinHandle<io::Result<()>>) {
    let (ours, theirs) = tokio::io::duplex(STREAM_BUFFER_BYTES);
    let driver = Driver {
        device,
        connection,
        start,
        packet: Vec::new(),
        written: BytesMut::new(),
        read: Bytes::new(),
        user_is_done: false,
        reader_is_told: false,
    };
    (theirs, tokio::spawn(driver.run(ours)))
}

/// One connection, its device and its user.
struct Driver<D> {
    device: D,
    connection: Connection,
    start: Clock,
    packet: Vec<u8>,
    /// What the user has written and the connection has not taken.
    written: BytesMut,
    /// What the connection has given and the user has not read.
    read: Bytes,
    user_is_done: bool,
    reader_is_told: bool,
}

impl<D: PacketDevice> Driver<D> {
    async fn run(mut self, user: DuplexStream) -> io::Result<()> {
        let (mut from_user, mut to_user) = tokio::io::split(user);
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            self.serve();
            self.drain().await?;
            if self.read.is_empty() && self.is_at_end() && !self.reader_is_told {
                // The reader may be gone, which is no matter at the end.
                let _ = to_user.shutdown().await;
                self.reader_is_told = true;
            }
            let is_over = self.connection.state() == State::Closed && self.read.is_empty();
            if is_over && self.reader_is_told {
                return match self.connection.failure() {
                    None => Ok(()),
                    Some(failure) => Err(error(failure)),
                };
            }
            let mut alarm = pin!(tokio::time::sleep_until(self.alarm()));
            let wants_written = self.written.is_empty() && !self.user_is_done;
            tokio::select! {
                length = self.device.recv(&mut buffer) => {
                    let packet = Bytes::copy_from_slice(&buffer[..length?]);
                    self.take(&packet).await?;
                }
                () = &mut alarm => self.connection.handle_timeout(since(self.start)),
                count = from_user.read_buf(&mut self.written), if wants_written => {
                    self.user_is_done = !matches!(count, Ok(1..));
                }
                count = to_user.write(&self.read), if !self.read.is_empty() => match count {
                    Ok(count) => self.read.advance(count),
                    Err(_) => {
                        self.read.clear();
                        self.connection.abort(since(self.start));
                    }
                },
            }
        }
    }

    /// Moves bytes between the connection and its user.
    fn serve(&mut self) {
        let now = since(self.start);
        if !self.written.is_empty() {
            let data = self.written.split().freeze();
            let accepted = self.connection.write(now, data.clone());
            self.written.extend_from_slice(&data[accepted..]);
        }
        if self.written.is_empty() && self.user_is_done {
            self.connection.shutdown(now);
        }
        if self.read.is_empty()
            && let Read::Data(data) = self.connection.read(now, usize::MAX)
        {
            self.read = data;
        }
        while self.connection.poll_event().is_some() {}
    }

    async fn drain(&mut self) -> io::Result<()> {
        while let Some(transmit) = self.connection.poll_transmit(since(self.start), 1) {
            for packet in transmit.packets() {
                self.packet.clear();
                packet.encode(&mut self.packet);
                self.device.send(&self.packet).await?;
            }
        }
        Ok(())
    }

    async fn take(&mut self, bytes: &Bytes) -> io::Result<()> {
        let Ok(packet) = Packet::parse(bytes) else {
            return Ok(());
        };
        let is_ours = packet.source == self.connection.remote()
            && packet.destination == self.connection.local();
        if is_ours {
            self.connection
                .handle_segment(since(self.start), &packet.segment);
            Ok(())
        } else {
            refuse(&self.device, &packet).await
        }
    }

    /// Whether nothing more will come for the reader.
    fn is_at_end(&mut self) -> bool {
        let outcome = self.connection.read(since(self.start), 0);
        matches!(outcome, Read::End | Read::Failed(_)) && self.connection.readable() == 0
    }

    fn alarm(&self) -> Clock {
        match self.connection.poll_timeout() {
            Some(deadline) => self.start + Duration::from_nanos(deadline.at().as_nanos()),
            None => Clock::now() + IDLE,
        }
    }
}

/// Resets the sender of a packet that is for nobody here; multicast is left alone.
async fn refuse(device: &impl PacketDevice, packet: &Packet) -> io::Result<()> {
    let is_multicast = match packet.destination.ip() {
        IpAddr::V4(address) => address.is_multicast() || address.is_broadcast(),
        IpAddr::V6(address) => address.is_multicast(),
    };
    if is_multicast || packet.segment.flags.contains(Flags::RST) {
        return Ok(());
    }
    if let Some(reset) = answer_stranger(packet) {
        let mut bytes = Vec::new();
        reset.encode(&mut bytes);
        device.send(&bytes).await?;
    }
    Ok(())
}

fn since(start: Clock) -> Instant {
    let nanos = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    Instant::from_nanos(nanos)
}

fn error(failure: Failure) -> io::Error {
    let kind = match failure {
        Failure::Refused => io::ErrorKind::ConnectionRefused,
        Failure::Reset => io::ErrorKind::ConnectionReset,
        Failure::TimedOut => io::ErrorKind::TimedOut,
        Failure::NotUnicast => io::ErrorKind::InvalidInput,
        Failure::Aborted => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, failure)
}
