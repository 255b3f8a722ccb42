//! Two interfaces of smoltcp, and the packets between them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use crate::application::{Data, Sink, Source};
use crate::{BUFFER_BYTES, MTU_BYTES};

/// For connections that carry next to nothing.
const SMALL_BUFFER_BYTES: usize = 4_096;

const TIME_WAIT_MICROS: i64 = 10_000_000;

type Queue = Rc<RefCell<VecDeque<Vec<u8>>>>;

struct Pipe {
    incoming: Queue,
    outgoing: Queue,
    /// Buffers to be used again, of both ends.
    spare: Rc<RefCell<Vec<Vec<u8>>>>,
}

struct Received(Vec<u8>, Rc<RefCell<Vec<Vec<u8>>>>);

struct Sender(Queue, Rc<RefCell<Vec<Vec<u8>>>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        let result = take(&self.0);
        self.1.borrow_mut().push(self.0);
        result
    }
}

impl TxToken for Sender {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut packet = self.1.borrow_mut().pop().unwrap_or_default();
        packet.resize(length, 0);
        let result = fill(&mut packet);
        self.0.borrow_mut().push_back(packet);
        result
    }
}

impl Device for Pipe {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sender;

    fn receive(&mut self, _now: Instant) -> Option<(Received, Sender)> {
        let packet = self.incoming.borrow_mut().pop_front()?;
        let received = Received(packet, Rc::clone(&self.spare));
        Some((
            received,
            Sender(Rc::clone(&self.outgoing), Rc::clone(&self.spare)),
        ))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Sender> {
        Some(Sender(Rc::clone(&self.outgoing), Rc::clone(&self.spare)))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU_BYTES;
        capabilities
    }
}

struct End {
    device: Pipe,
    interface: Interface,
    sockets: SocketSet<'static>,
    socket: SocketHandle,
}

impl End {
    fn new(mut device: Pipe, host: u8, buffer_bytes: usize) -> Self {
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(IpAddress::v4(10, 0, 0, host), 24);
            addresses.push(address).expect("there is room for one");
        });
        let buffer = || SocketBuffer::new(vec![0; buffer_bytes]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_congestion_control(CongestionControl::None);
        let mut sockets = SocketSet::new(vec![]);
        let socket = sockets.add(socket);
        Self {
            device,
            interface,
            sockets,
            socket,
        }
    }

    fn socket(&mut self) -> &mut Socket<'static> {
        self.sockets.get_mut(self.socket)
    }

    fn connect(&mut self, port: u16) {
        let remote = (IpAddress::v4(10, 0, 0, 2), 80);
        let context = self.interface.context();
        let opening = self
            .sockets
            .get_mut::<Socket>(self.socket)
            .connect(context, remote, port);
        opening.expect("it is closed");
    }

    fn poll(&mut self, now: Instant) {
        self.interface
            .poll(now, &mut self.device, &mut self.sockets);
    }
}

struct Pair {
    client: End,
    server: End,
    micros: i64,
}

impl Pair {
    fn new(buffer_bytes: usize) -> Self {
        let [there, back]: [Queue; 2] = Default::default();
        let spare = Rc::default();
        let pipe = |incoming: &Queue, outgoing: &Queue| Pipe {
            incoming: Rc::clone(incoming),
            outgoing: Rc::clone(outgoing),
            spare: Rc::clone(&spare),
        };
        Self {
            client: End::new(pipe(&back, &there), 1, buffer_bytes),
            server: End::new(pipe(&there, &back), 2, buffer_bytes),
            micros: 0,
        }
    }

    fn step(&mut self) {
        self.micros += 10;
        let now = Instant::from_micros(self.micros);
        self.client.poll(now);
        self.server.poll(now);
    }

    /// Goes on until `done`, which is a matter of a few steps.
    fn step_until(&mut self, done: impl Fn(&mut Self) -> bool) {
        for _ in 0..100 {
            if done(self) {
                return;
            }
            self.step();
        }
        panic!("it never comes");
    }
}

pub(crate) fn transfer(bytes: usize, data: Data) {
    let mut pair = Pair::new(BUFFER_BYTES);
    pair.server.socket().listen(80).expect("the port is free");
    pair.client.connect(40_000);
    let (mut source, mut sink) = (Source::new(bytes), Sink::new());
    while sink.read() < bytes {
        while pair.client.socket().can_send() {
            // There is no way around this copy: the buffer is the stack's.
            match pair.client.socket().send_slice(&source.next()) {
                Ok(0) | Err(_) => break,
                Ok(count) => source.advance(count),
            }
        }
        pair.step();
        while pair.server.socket().can_recv() {
            match data {
                Data::Copied => match pair.server.socket().recv_slice(sink.buffer()) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => sink.filled(count),
                },
                Data::InPlace => {
                    let taken = pair.server.socket().recv(|data| {
                        sink.check(data);
                        (data.len(), data.len())
                    });
                    if matches!(taken, Ok(0) | Err(_)) {
                        break;
                    }
                }
            }
        }
    }
}

/// Each is opened, carries a byte, is closed from the side that opened it, and waits out
/// TIME-WAIT before the next; the sockets and their buffers are used again.
pub(crate) fn handshakes(count: usize) {
    let mut pair = Pair::new(SMALL_BUFFER_BYTES);
    for number in 0..count {
        pair.server.socket().listen(80).expect("the port is free");
        pair.client.connect(40_000 + (number % 20_000) as u16);
        pair.step_until(|pair| pair.client.socket().may_send());
        let sent = pair.client.socket().send_slice(b"x");
        assert_eq!(sent, Ok(1));
        pair.client.socket().close();
        pair.step_until(|pair| pair.server.socket().can_recv());
        let mut byte = [0];
        assert_eq!(pair.server.socket().recv_slice(&mut byte), Ok(1));
        pair.step_until(|pair| !pair.server.socket().may_recv());
        pair.server.socket().close();
        pair.step_until(|pair| pair.server.socket().state() == State::Closed);
        pair.step_until(|pair| pair.client.socket().state() == State::TimeWait);
        pair.micros += TIME_WAIT_MICROS;
        pair.step_until(|pair| pair.client.socket().state() == State::Closed);
    }
}
