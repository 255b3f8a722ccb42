//! Two interfaces of smoltcp, and the packets between them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use crate::{BUFFER_BYTES, CHUNK_BYTES, MTU_BYTES};

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
    fn new(mut device: Pipe, host: u8) -> Self {
        let config = Config::new(HardwareAddress::Ip);
        let mut interface = Interface::new(config, &mut device, Instant::ZERO);
        interface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(IpAddress::v4(10, 0, 0, host), 24);
            addresses.push(address).expect("there is room for one");
        });
        let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
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

    fn poll(&mut self, now: Instant) {
        self.interface
            .poll(now, &mut self.device, &mut self.sockets);
    }
}

pub(crate) fn transfer(bytes: usize) {
    let [there, back]: [Queue; 2] = Default::default();
    let spare = Rc::default();
    let pipe = |incoming: &Queue, outgoing: &Queue| Pipe {
        incoming: Rc::clone(incoming),
        outgoing: Rc::clone(outgoing),
        spare: Rc::clone(&spare),
    };
    let mut client = End::new(pipe(&back, &there), 1);
    let mut server = End::new(pipe(&there, &back), 2);
    server.socket().listen(80).expect("the port is free");
    let remote = (IpAddress::v4(10, 0, 0, 2), 80);
    let End {
        interface,
        sockets,
        socket,
        ..
    } = &mut client;
    let opening = sockets
        .get_mut::<Socket>(*socket)
        .connect(interface.context(), remote, 40_000);
    opening.expect("it is closed");
    let source = vec![7; CHUNK_BYTES];
    let mut sink = vec![0; CHUNK_BYTES];
    let (mut written, mut read, mut micros) = (0, 0, 0);
    while read < bytes {
        while client.socket().can_send() && written < bytes {
            let length = CHUNK_BYTES.min(bytes - written);
            match client.socket().send_slice(&source[..length]) {
                Ok(0) | Err(_) => break,
                Ok(count) => written += count,
            }
        }
        micros += 10;
        let now = Instant::from_micros(micros);
        client.poll(now);
        server.poll(now);
        while server.socket().can_recv() {
            match server.socket().recv_slice(&mut sink) {
                Ok(0) | Err(_) => break,
                Ok(count) => read += count,
            }
        }
    }
    assert_eq!(sink[0], 7);
}
