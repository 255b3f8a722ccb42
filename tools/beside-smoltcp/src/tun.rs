//! smoltcp and the kernel's TCP over a TUN device, as `tun_throughput` has it for ours.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::thread;
use std::time::Duration;

use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::phy::{self, Medium, TunTapInterface};
use smoltcp::socket::tcp::{CongestionControl, Socket, SocketBuffer};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

use crate::MTU_BYTES;

const NAME: &str = "smolspeed";
const KERNEL: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);
const OURS: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 2);
const BUFFER_BYTES: usize = 4 << 20;
const CHUNK_BYTES: usize = 256 << 10;

/// Gbit/s to the kernel, or from it.
pub(crate) fn transfer(bytes: usize, sends: bool) -> f64 {
    let address = format!("{KERNEL}/24");
    let mtu = MTU_BYTES.to_string();
    ip(&["tuntap", "add", NAME, "mode", "tun"]);
    ip(&["addr", "add", &address, "dev", NAME]);
    ip(&["link", "set", NAME, "mtu", &mtu, "up"]);
    let device = TunTapInterface::new(NAME, Medium::Ip).expect("root");
    let kernel = thread::spawn(move || {
        let mut stream = TcpStream::connect((OURS, 80)).expect("it listens");
        let start = std::time::Instant::now();
        if sends {
            receive(&mut stream, bytes);
        } else {
            send(&mut stream, bytes);
        }
        // What was written has arrived once the other end closes, too.
        assert_eq!(stream.read(&mut [0]).expect("it closes"), 0);
        start.elapsed()
    });
    serve(device, bytes, sends);
    let seconds = kernel.join().expect("the kernel's end").as_secs_f64();
    ip(&["tuntap", "del", NAME, "mode", "tun"]);
    bytes as f64 * 8.0 / seconds / 1e9
}

fn serve(mut device: TunTapInterface, bytes: usize, sends: bool) {
    let fd = device.as_raw_fd();
    let mut interface = Interface::new(
        Config::new(HardwareAddress::Ip),
        &mut device,
        Instant::now(),
    );
    interface.update_ip_addrs(|addresses| {
        let address = IpCidr::new(IpAddress::Ipv4(OURS), 24);
        addresses.push(address).expect("there is room for one");
    });
    let buffer = || SocketBuffer::new(vec![0; BUFFER_BYTES]);
    let mut socket = Socket::new(buffer(), buffer());
    socket.set_congestion_control(CongestionControl::None);
    socket.listen(80).expect("the port is free");
    let mut sockets = SocketSet::new(vec![]);
    let handle = sockets.add(socket);
    let mut chunk = vec![7; CHUNK_BYTES];
    let mut done = 0;
    loop {
        let now = Instant::now();
        interface.poll(now, &mut device, &mut sockets);
        let socket = sockets.get_mut::<Socket>(handle);
        if sends {
            while done < bytes && socket.can_send() {
                let length = CHUNK_BYTES.min(bytes - done);
                done += socket.send_slice(&chunk[..length]).expect("it is open");
            }
        } else {
            while socket.can_recv() {
                done += socket.recv_slice(&mut chunk).expect("there is data");
            }
        }
        if done == bytes {
            socket.close();
            if !socket.is_open() || socket.send_queue() == 0 && !socket.may_send() && !sends {
                // The last acknowledgement is out with the FIN.
                interface.poll(Instant::now(), &mut device, &mut sockets);
                return;
            }
            if sends && socket.send_queue() == 0 && !socket.may_recv() {
                return;
            }
        }
        let now = Instant::now();
        let delay = interface.poll_delay(now, &sockets);
        phy::wait(fd, delay).expect("the device is there");
    }
}

fn send(stream: &mut TcpStream, bytes: usize) {
    let chunk = vec![7; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        let length = left.min(CHUNK_BYTES);
        stream.write_all(&chunk[..length]).expect("it reads");
        left -= length;
    }
}

fn receive(stream: &mut TcpStream, bytes: usize) {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut got = 0;
    while got < bytes {
        let length = stream.read(&mut chunk).expect("it writes");
        assert!(length > 0, "{} bytes are missing", bytes - got);
        got += length;
    }
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "ip {arguments:?}: root?"
    );
    // The kernel takes its time to forget a device.
    thread::sleep(Duration::from_millis(50));
}
