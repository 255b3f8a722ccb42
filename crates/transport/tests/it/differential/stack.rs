//! The two stacks under test, and how to ask them.

use std::io::{ErrorKind, Write as _};
use std::net::{Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use bytes::Bytes;
use packhorse_tcp::{
    Config, Connection, Ecn, Flags, Instant, KeepAlive, Packet, Segment, SeqNumber, State,
    answer_stranger,
};
use packhorse_transport::stack::PacketDevice;
use packhorse_transport::tun::TunDevice;
use socket2::{Domain, SockRef, Socket, TcpKeepalive, Type};

use super::{Peer, Start, Step};
use crate::tun::{KERNEL, OURS};

/// Where nobody listens: the kernel's reset from there ends an answer.
const CLOSED_PORT: u16 = 9;

/// Silence before a keep-alive probe, and between two.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// The kernel's side of the device, with a listener over each family.
pub(super) struct Kernel<'a> {
    device: &'a TunDevice,
    listener: TcpListener,
    listener_v6: TcpListener,
    address_v6: Ipv6Addr,
}

pub(super) enum Stack<'a> {
    Kernel {
        kernel: &'a Kernel<'a>,
        stream: Option<TcpStream>,
        markers: u32,
    },
    Ours(Box<Ours>),
}

pub(super) struct Ours {
    config: Config,
    connection: Option<Connection>,
    /// What goes to strangers.
    outbox: Vec<Packet>,
    now: Instant,
}

impl<'a> Kernel<'a> {
    pub(super) fn new(device: &'a TunDevice) -> Self {
        let listener = TcpListener::bind((KERNEL, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener_v6 = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)).unwrap();
        listener_v6.set_nonblocking(true).unwrap();
        Self {
            device,
            listener,
            listener_v6,
            address_v6: link_local_address(),
        }
    }

    /// The stack's end in a script that begins at `from`; `port` is for those in which it calls.
    pub(super) fn address(&self, from: Start, port: u16) -> SocketAddr {
        match from {
            Start::Six => {
                let port = self.listener_v6.local_addr().unwrap().port();
                SocketAddr::from((self.address_v6, port))
            }
            Start::Active => SocketAddr::from((KERNEL, port)),
            _ => self.listener.local_addr().unwrap(),
        }
    }

    fn accept(&self, from: Start) -> Option<TcpStream> {
        let listener = if from == Start::Six {
            &self.listener_v6
        } else {
            &self.listener
        };
        let (stream, _) = listener.accept().ok()?;
        if from == Start::KeptAlive {
            let probes = TcpKeepalive::new()
                .with_time(KEEP_ALIVE)
                .with_interval(KEEP_ALIVE)
                .with_retries(1);
            SockRef::from(&stream).set_tcp_keepalive(&probes).unwrap();
        }
        Some(stream)
    }

    async fn send(&self, packet: &Packet) {
        let mut bytes = Vec::new();
        packet.encode(&mut bytes);
        self.device.send(&bytes).await.unwrap();
    }

    async fn receive(&self) -> Option<Packet> {
        let mut buffer = vec![0; 65_535];
        let length = self.device.recv(&mut buffer).await.unwrap();
        buffer.truncate(length);
        Packet::parse(&buffer.into()).ok()
    }

    /// Everything up to the answer to a SYN that nobody takes.
    async fn receive_up_to_marker(&self, marker: u32) -> Vec<Packet> {
        let mut segment = Segment::new(SeqNumber::new(marker), None);
        segment.flags = Flags::SYN;
        let ends = [OURS, KERNEL].map(|address| SocketAddr::from((address, CLOSED_PORT)));
        let syn = Packet {
            source: ends[0],
            destination: ends[1],
            ecn: Ecn::NotCapable,
            segment,
        };
        self.send(&syn).await;
        let behind = Some(SeqNumber::new(marker + 1));
        let mut packets = Vec::new();
        loop {
            match self.receive().await {
                Some(last) if (last.source, last.segment.ack) == (ends[1], behind) => {
                    return packets;
                }
                other => packets.extend(other),
            }
        }
    }
}

impl<'a> Stack<'a> {
    pub(super) fn kernel(kernel: &'a Kernel<'a>) -> Self {
        Self::Kernel {
            kernel,
            stream: None,
            markers: 0,
        }
    }

    pub(super) fn ours(from: Start) -> Self {
        let keep_alive = KeepAlive {
            idle: KEEP_ALIVE,
            interval: KEEP_ALIVE,
            probes_max: 1,
        };
        let config = Config {
            pacing: false,
            nagle: false,
            receive_buffer_bytes: 65_535,
            keep_alive: (from == Start::KeptAlive).then_some(keep_alive),
            ..Config::default()
        };
        Self::Ours(Box::new(Ours {
            config,
            connection: None,
            outbox: Vec::new(),
            now: Instant::from_millis(10_000),
        }))
    }

    pub(super) async fn hear(&mut self, packet: &Packet) {
        match self {
            Self::Kernel { kernel, .. } => kernel.send(packet).await,
            Self::Ours(ours) => ours.hear(packet),
        }
    }

    pub(super) fn act(&mut self, step: Step, peer: &Peer) {
        match self {
            Self::Kernel { stream, .. } => act_by_kernel(stream, step, peer),
            Self::Ours(ours) => ours.act(step, peer),
        }
    }

    /// What the stack has sent.
    pub(super) async fn drain(&mut self, peer: &Peer, from: Start) -> Vec<Packet> {
        match self {
            Self::Kernel {
                kernel,
                stream,
                markers,
            } => {
                *markers += 1;
                let mut packets = kernel.receive_up_to_marker(*markers).await;
                packets.retain(|packet| peer.is_between(packet));
                if stream.is_none() {
                    *stream = kernel.accept(from);
                }
                packets
            }
            Self::Ours(ours) => ours.drain(),
        }
    }

    /// The next packet that the stack sends by itself.
    pub(super) async fn wait(&mut self, peer: &Peer) -> Packet {
        match self {
            Self::Kernel { kernel, .. } => loop {
                let packet = kernel.receive().await;
                if let Some(packet) = packet.filter(|packet| peer.is_between(packet)) {
                    return packet;
                }
            },
            Self::Ours(ours) => ours.wait(),
        }
    }
}

fn act_by_kernel(stream: &mut Option<TcpStream>, step: Step, peer: &Peer) {
    match step {
        Step::Dial => *stream = Some(dial(peer)),
        Step::Write(length) => {
            let stream = stream.as_mut().unwrap();
            stream.set_nodelay(true).unwrap();
            stream.write_all(&vec![b'y'; length]).unwrap();
        }
        Step::Shutdown => stream.as_ref().unwrap().shutdown(Shutdown::Write).unwrap(),
        Step::Say(_) | Step::Await(_) => {}
    }
}

impl Ours {
    fn hear(&mut self, packet: &Packet) {
        self.now = self.now + Duration::from_millis(1);
        match &mut self.connection {
            Some(connection) if connection.state() != State::Closed => {
                connection.handle_segment(self.now, packet.segment.clone());
            }
            None => {
                let isn = SeqNumber::new(u32::MAX - 700);
                self.connection = Connection::accept(&self.config, packet, isn, self.now);
            }
            Some(_) => self.outbox.extend(answer_stranger(packet)),
        }
    }

    fn act(&mut self, step: Step, peer: &Peer) {
        let now = self.now;
        match (step, &mut self.connection) {
            (Step::Dial, connection) => {
                let isn = SeqNumber::new(u32::MAX - 700);
                let dialled = Connection::connect(&self.config, peer.there, peer.here, isn, now);
                *connection = Some(dialled);
            }
            (Step::Write(length), Some(connection)) => {
                connection.write(now, Bytes::from(vec![b'y'; length]));
            }
            (Step::Shutdown, Some(connection)) => connection.shutdown(now),
            _ => {}
        }
    }

    fn drain(&mut self) -> Vec<Packet> {
        let mut packets = std::mem::take(&mut self.outbox);
        while let Some(packet) = self.next() {
            packets.push(packet);
        }
        packets
    }

    fn wait(&mut self) -> Packet {
        loop {
            if let Some(packet) = self.next() {
                return packet;
            }
            let connection = self.connection.as_mut().expect("there is a connection");
            let deadline = connection.poll_timeout().expect("something is due");
            self.now = self.now.max(deadline.at());
            connection.handle_timeout(self.now);
        }
    }

    fn next(&mut self) -> Option<Packet> {
        let transmit = self.connection.as_mut()?.poll_transmit(self.now, 1)?;
        transmit.packets().next()
    }
}

/// A call of the kernel's, which has sent its SYN when this returns.
fn dial(peer: &Peer) -> TcpStream {
    let socket = Socket::new(Domain::for_address(peer.there), Type::STREAM, None).unwrap();
    socket.bind(&peer.there.into()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let in_progress = rustix::io::Errno::INPROGRESS.raw_os_error();
    match socket.connect(&peer.here.into()) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) if error.raw_os_error() == Some(in_progress) => {}
        other => panic!("{other:?}"),
    }
    socket.into()
}

/// The address that the kernel gave its end of the device by itself.
fn link_local_address() -> Ipv6Addr {
    let table = std::fs::read_to_string("/proc/net/if_inet6").unwrap();
    let line = table.lines().find(|line| line.ends_with("phdiff"));
    let digits = line.expect("the device has no IPv6 address");
    let bits = digits.split(' ').next().unwrap();
    Ipv6Addr::from_bits(u128::from_str_radix(bits, 16).unwrap())
}
