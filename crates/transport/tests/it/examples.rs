//! The examples, run as their first lines say, in a network namespace of their own.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use crate::tun::{KERNEL, OURS, PATIENCE, in_namespace};

const BYTES: usize = 300_000;

/// Somewhere beyond the proxy, which this machine plays too.
const FAR: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

#[test]
fn the_echo_server_gives_back_every_byte() {
    if let Some(text) = in_namespace("examples::echo_in_a_namespace") {
        assert!(text.contains("has left after 300000 bytes"), "{text}");
    }
}

#[test]
fn the_proxy_carries_every_byte_on() {
    if let Some(text) = in_namespace("examples::proxy_in_a_namespace") {
        assert!(text.contains("300000 bytes there, 300000 back"), "{text}");
    }
}

#[test]
#[ignore = "the_echo_server_gives_back_every_byte runs it in a namespace"]
fn echo_in_a_namespace() {
    let mut example = Example::start("tun_echo", &["ph0", &format!("{KERNEL}/24")]);
    assert_eq!(example.line(), "listening on ph0");
    let stream = TcpStream::connect((OURS, 7)).unwrap();
    assert!(example.line().contains(&format!("has come to {OURS}:7")));
    exchange(stream);
    println!("{}", example.line());
}

#[test]
#[ignore = "the_proxy_carries_every_byte_on runs it in a namespace"]
fn proxy_in_a_namespace() {
    ip(&["link", "set", "lo", "up"]);
    ip(&["address", "add", &format!("{FAR}/32"), "dev", "lo"]);
    let arguments = ["ph0", &format!("{KERNEL}/24"), "lo"];
    let mut example = Example::start("transparent_proxy", &arguments);
    assert_eq!(example.line(), "listening on ph0");
    ip(&["route", "add", "198.51.100.0/24", "dev", "ph0"]);
    // What comes from there seems to come from ourselves.
    std::fs::write("/proc/sys/net/ipv4/conf/ph0/accept_local", "1").unwrap();
    let listener = TcpListener::bind((FAR, 0)).unwrap();
    let far = listener.local_addr().unwrap();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        std::io::copy(&mut stream.try_clone().unwrap(), &mut stream).unwrap()
    });
    exchange(connect_through("ph0", far));
    assert_eq!(echo.join().unwrap(), BYTES as u64);
    println!("{}", example.line());
}

/// One that runs, and ends with this.
struct Example {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Example {
    /// Cargo builds the examples beside the tests.
    fn start(name: &str, arguments: &[&str]) -> Self {
        let test = std::env::current_exe().unwrap();
        let built = test.ancestors().nth(2).unwrap();
        let mut child = Command::new(built.join("examples").join(name))
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends all, and expects the same back, up to an end in order.
fn exchange(mut stream: TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let sent: Vec<u8> = (0..BYTES).map(|at| (at % 251) as u8).collect();
    let (mut writer, bytes) = (stream.try_clone().unwrap(), sent.clone());
    let writing = std::thread::spawn(move || {
        writer.write_all(&bytes).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let mut came = Vec::new();
    stream.read_to_end(&mut came).unwrap();
    writing.join().unwrap();
    assert!(came == sent, "{} bytes, or wrong ones", came.len());
}

/// Connects by way of one device, although `to` is an address of this machine.
fn connect_through(device: &str, to: SocketAddr) -> TcpStream {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind_device(Some(device.as_bytes())).unwrap();
    socket.connect(&to.into()).unwrap();
    socket.into()
}

fn ip(arguments: &[&str]) {
    let status = Command::new("ip").args(arguments).status().unwrap();
    assert!(status.success(), "ip {arguments:?}");
}
