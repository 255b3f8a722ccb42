//! Our own TCP as a program meets it: what tokio's streams do, ours do too. In memory, with a
//! clock that runs ahead when everyone waits.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use packhorse_tcp::{Config, EndpointConfig, ListenAt, Transmit};
use packhorse_transport::stack::{
    PacketDevice, PacketPipe, ReceivedPacket, Stack, TcpListener, TcpStream, send_packets,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Packets that may wait in a pipe.
const PIPE_PACKETS: usize = 10_000;

/// Against hangs; on a paused clock it costs nothing.
const PATIENCE: Duration = Duration::from_secs(600);

/// A device that loses each `every`-th packet, in both directions.
pub(crate) struct Lossy<D> {
    pub(crate) device: D,
    pub(crate) every: u32,
    pub(crate) count: AtomicU32,
    /// The device takes runs of segments, and they are lost in one piece.
    pub(crate) in_runs: bool,
    /// The most segments that went out in one piece.
    pub(crate) longest_run: Arc<AtomicU32>,
    /// The most bytes that came in one piece.
    pub(crate) longest_arrival: Arc<AtomicU32>,
}

impl<D> Lossy<D> {
    pub(crate) fn new(device: D, every: u32) -> Self {
        let count = AtomicU32::new(0);
        Self {
            device,
            every,
            count,
            in_runs: false,
            longest_run: Arc::default(),
            longest_arrival: Arc::default(),
        }
    }

    fn loses(&self) -> bool {
        let count = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        self.every > 0 && count.is_multiple_of(self.every)
    }
}

impl<D: PacketDevice> PacketDevice for Lossy<D> {
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let length = self.device.recv(buffer).await?;
            if !self.loses() {
                return Ok(length);
            }
        }
    }

    async fn send(&self, packet: &[u8]) -> io::Result<()> {
        if self.loses() {
            Ok(())
        } else {
            self.device.send(packet).await
        }
    }

    async fn recv_packet(&self, buffer: &mut [u8]) -> io::Result<ReceivedPacket> {
        loop {
            let packet = self.device.recv_packet(buffer).await?;
            let bytes = packet.range.len() as u32;
            self.longest_arrival.fetch_max(bytes, Ordering::Relaxed);
            if !self.loses() {
                return Ok(packet);
            }
        }
    }

    fn try_recv_packet(&self, buffer: &mut [u8]) -> io::Result<Option<ReceivedPacket>> {
        loop {
            let packet = self.device.try_recv_packet(buffer)?;
            if packet.is_none() || !self.loses() {
                return Ok(packet);
            }
        }
    }

    async fn send_run(&self, run: &Transmit) -> io::Result<()> {
        if !self.in_runs {
            return send_packets(self, run).await;
        }
        self.longest_run
            .fetch_max(run.segments() as u32, Ordering::Relaxed);
        if self.loses() {
            Ok(())
        } else {
            self.device.send_run(run).await
        }
    }
}

struct Pair {
    client: Stack,
    server: Stack,
    listener: TcpListener,
    tasks: [JoinHandle<io::Result<()>>; 2],
}

fn local() -> SocketAddr {
    "192.0.2.1:0".parse().unwrap()
}

fn remote() -> SocketAddr {
    "192.0.2.2:80".parse().unwrap()
}

fn pair(every: u32) -> Pair {
    let config = EndpointConfig {
        connection: Config {
            receive_buffer_bytes: 100_000,
            send_buffer_bytes: 100_000,
            // Where the clock is real, the end of a pair waits for this.
            time_wait: Duration::from_secs(5),
            ..Config::default()
        },
        ..EndpointConfig::default()
    };
    let (near, far) = PacketPipe::pair(PIPE_PACKETS);
    let (client, near) = Stack::start(Lossy::new(near, every), config.clone(), [1; 16]);
    let (server, far) = Stack::start(far, config, [2; 16]);
    let listener = server.listen(ListenAt::Address(remote()), 100).unwrap();
    Pair {
        client,
        server,
        listener,
        tasks: [near, far],
    }
}

impl Pair {
    async fn streams(&self) -> (TcpStream, TcpStream) {
        let both = async {
            tokio::join!(
                self.client.connect(local(), remote()),
                self.listener.accept()
            )
        };
        let (near, far) = timeout(PATIENCE, both).await.expect("it hangs");
        (near.unwrap(), far.unwrap().0)
    }

    /// Lets everything go; both drivers end.
    async fn end(self) {
        let Self {
            client,
            server,
            listener,
            tasks,
        } = self;
        drop((client, server, listener));
        for task in tasks {
            timeout(PATIENCE, task)
                .await
                .expect("it stays")
                .unwrap()
                .unwrap();
        }
    }
}

fn pattern(bytes: usize, seed: u8) -> Vec<u8> {
    (0..bytes)
        .map(|at| (at % 251) as u8 ^ (at / 251 % 256) as u8 ^ seed)
        .collect()
}

#[tokio::test(start_paused = true)]
async fn every_byte_comes_through_a_path_that_loses() {
    for every in [0, 30, 7] {
        let pair = pair(every);
        let (near, far) = pair.streams().await;
        let exchange = |stream: TcpStream, ours: u8, theirs: u8| async move {
            let (mut from, mut to) = stream.into_split();
            let send = async {
                to.write_all(&pattern(700_000, ours)).await.unwrap();
                to.shutdown().await.unwrap();
            };
            let receive = async {
                let mut got = Vec::new();
                from.read_to_end(&mut got).await.unwrap();
                assert!(got == pattern(700_000, theirs), "{} bytes", got.len());
            };
            tokio::join!(send, receive);
        };
        let both = async { tokio::join!(exchange(near, 1, 2), exchange(far, 2, 1)) };
        timeout(PATIENCE, both).await.expect("it hangs");
        pair.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn addresses_and_options_are_as_set() {
    let pair = pair(0);
    let (near, far) = pair.streams().await;
    assert_eq!(near.peer_addr().unwrap(), remote());
    assert_eq!(far.local_addr().unwrap(), remote());
    assert_eq!(near.local_addr().unwrap(), far.peer_addr().unwrap());
    assert_eq!(near.local_addr().unwrap().ip(), local().ip());
    assert!(!near.nodelay().unwrap());
    near.set_nodelay(true).unwrap();
    assert!(near.nodelay().unwrap());
    assert_eq!(pair.listener.at(), ListenAt::Address(remote()));
    let again = pair.server.listen(ListenAt::Address(remote()), 1);
    assert_eq!(again.unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop((near, far));
    pair.end().await;
}

/// A half of a connection can be closed, and the other goes on.
#[tokio::test(start_paused = true)]
async fn a_dropped_writer_closes_its_half_only() {
    let pair = pair(0);
    let (near, mut far) = pair.streams().await;
    let (mut from, mut to) = near.into_split();
    to.write_all(b"last words").await.unwrap();
    drop(to);
    let mut heard = String::new();
    far.read_to_string(&mut heard).await.unwrap();
    assert_eq!(heard, "last words");
    far.write_all(b"and an answer").await.unwrap();
    far.shutdown().await.unwrap();
    let late = far.write_all(b"more").await.unwrap_err();
    assert_eq!(late.kind(), io::ErrorKind::BrokenPipe);
    let mut answer = String::new();
    from.read_to_string(&mut answer).await.unwrap();
    assert_eq!(answer, "and an answer");
    drop((from, far));
    pair.end().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_dropped_sends_what_was_written() {
    let pair = pair(0);
    let (mut near, mut far) = pair.streams().await;
    let data = pattern(90_000, 3);
    near.write_all(&data).await.unwrap();
    drop(near);
    let mut got = Vec::new();
    far.read_to_end(&mut got).await.unwrap();
    assert!(got == data);
    drop(far);
    pair.end().await;
}

/// As with the kernel's: what nobody has read resets the peer, and so does lingering for no time.
#[tokio::test(start_paused = true)]
async fn what_is_dropped_too_early_resets_the_peer() {
    for zero_linger in [false, true] {
        let pair = pair(0);
        let (mut near, mut far) = pair.streams().await;
        if zero_linger {
            far.set_zero_linger(true);
            far.write_all(b"half an answer").await.unwrap();
        } else {
            near.write_all(b"nobody reads this").await.unwrap();
            far.readable().await;
        }
        drop(far);
        let mut got = Vec::new();
        let error = near.read_to_end(&mut got).await.unwrap_err();
        assert_eq!(
            error.kind(),
            io::ErrorKind::ConnectionReset,
            "{zero_linger}"
        );
        let error = near.write_all(b"more").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        drop(near);
        pair.end().await;
    }
}

#[tokio::test(start_paused = true)]
async fn connects_fail_as_they_should_and_leave_nothing() {
    let pair = pair(0);
    let closed = "192.0.2.2:81".parse().unwrap();
    let refused = pair.client.connect(local(), closed).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);

    let (nobody, _kept) = PacketPipe::pair(PIPE_PACKETS);
    let (lonely, _task) = Stack::start(nobody, EndpointConfig::default(), [3; 16]);
    let given_up = timeout(Duration::from_secs(2), lonely.connect(local(), remote())).await;
    assert!(given_up.is_err(), "it was cancelled");
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(lonely.connections(), 0);
    let silence = lonely.connect(local(), remote()).await.unwrap_err();
    assert_eq!(silence.kind(), io::ErrorKind::TimedOut);
    pair.end().await;
}

/// Dropped at any await and begun again, nothing loses or repeats a byte or a connection.
#[tokio::test(start_paused = true)]
async fn whatever_is_cancelled_loses_nothing() {
    let pair = pair(13);
    let patience = |step: u64| Duration::from_micros(step * 7_919 % 3_000);
    let connecting = pair.client.connect(local(), remote());
    let accepting = async {
        for step in 0.. {
            if let Ok(accepted) = timeout(patience(step), pair.listener.accept()).await {
                return accepted.unwrap().0;
            }
        }
        unreachable!()
    };
    let (near, mut far) = timeout(PATIENCE, async { tokio::join!(connecting, accepting) })
        .await
        .expect("it hangs");
    let mut near = near.unwrap();
    let data = pattern(400_000, 5);
    let send = async {
        let mut sent = 0;
        for step in 0.. {
            if sent == data.len() {
                break;
            }
            let end = data.len().min(sent + 1 + step as usize * 131 % 30_000);
            if let Ok(count) = timeout(patience(step), near.write(&data[sent..end])).await {
                sent += count.unwrap();
            }
        }
        near.shutdown().await.unwrap();
    };
    let receive = async {
        let mut got = Vec::new();
        let mut part = vec![0; 20_000];
        for step in 0.. {
            let most = 1 + step as usize * 97 % part.len();
            if let Ok(count) = timeout(patience(step), far.read(&mut part[..most])).await {
                let count = count.unwrap();
                if count == 0 {
                    break;
                }
                got.extend_from_slice(&part[..count]);
            }
        }
        got
    };
    let both = async { tokio::join!(send, receive) };
    let ((), got) = timeout(PATIENCE, both).await.expect("it hangs");
    assert!(got == data, "{} bytes", got.len());
    drop((near, far));
    pair.end().await;
}

/// A reader who is behind holds the writer up; nothing grows meanwhile.
#[tokio::test(start_paused = true)]
async fn a_slow_reader_holds_the_writer_up() {
    let pair = pair(0);
    let (mut near, mut far) = pair.streams().await;
    let data = pattern(1_000_000, 6);
    let mut taken = 0;
    let stalled = timeout(Duration::from_secs(30), async {
        loop {
            taken += near.write(&data[taken..]).await.unwrap();
        }
    });
    assert!(stalled.await.is_err());
    assert!((200_000..=210_000).contains(&taken), "{taken}: two buffers");
    let rest = async {
        near.write_all(&data[taken..]).await.unwrap();
        near.shutdown().await.unwrap();
    };
    let mut got = Vec::new();
    let (read, ()) = tokio::join!(far.read_to_end(&mut got), rest);
    read.unwrap();
    assert!(got == data);
    drop((near, far));
    pair.end().await;
}

/// A device that can be broken.
struct Fragile(PacketPipe, AtomicBool);

impl PacketDevice for Fragile {
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.0.recv(buffer).await?;
        if buffer[..length].ends_with(b"break") {
            self.1.store(true, Ordering::Relaxed);
            return Err(io::Error::other("the wire is cut"));
        }
        Ok(length)
    }

    async fn send(&self, packet: &[u8]) -> io::Result<()> {
        self.0.send(packet).await
    }
}

#[tokio::test(start_paused = true)]
async fn everybody_hears_that_the_device_is_broken() {
    let (near, far) = PacketPipe::pair(PIPE_PACKETS);
    let (client, _task) = Stack::start(near, EndpointConfig::default(), [1; 16]);
    let device = Fragile(far, AtomicBool::new(false));
    let (server, task) = Stack::start(device, EndpointConfig::default(), [2; 16]);
    let listener = server.listen(ListenAt::Port(80), 4).unwrap();
    let (stream, accepted) = tokio::join!(client.connect(local(), remote()), listener.accept());
    let (mut stream, (mut accepted, _)) = (stream.unwrap(), accepted.unwrap());
    let reading = async { accepted.read(&mut [0; 9]).await.unwrap_err() };
    let accepting = async { listener.accept().await.unwrap_err() };
    let breaking = async { stream.write_all(b"break").await.unwrap() };
    let (read, accept, ()) = tokio::join!(reading, accepting, breaking);
    for error in [read, accept, task.await.unwrap().unwrap_err()] {
        assert_eq!(error.to_string(), "the wire is cut");
    }
    let late = server.connect(remote(), local()).await.unwrap_err();
    assert_eq!(late.to_string(), "the wire is cut");
}

/// A device that loses the next packet it is to send, when it is told to.
struct LosesNext(PacketPipe, Arc<AtomicBool>);

impl PacketDevice for LosesNext {
    async fn recv(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.recv(buffer).await
    }

    async fn send(&self, packet: &[u8]) -> io::Result<()> {
        if self.1.swap(false, Ordering::Relaxed) {
            Ok(())
        } else {
            self.0.send(packet).await
        }
    }
}

/// A driver that left with its last user could not answer for a last acknowledgement that was
/// lost, and the peer sent its FIN until its user time-out.
#[tokio::test(start_paused = true)]
async fn a_lost_last_acknowledgement_is_answered_for_when_nobody_is_left() {
    let (near, far) = PacketPipe::pair(PIPE_PACKETS);
    let loses = Arc::new(AtomicBool::new(false));
    let device = LosesNext(near, Arc::clone(&loses));
    let (client, task) = Stack::start(device, EndpointConfig::default(), [1; 16]);
    let (server, _task) = Stack::start(far, EndpointConfig::default(), [2; 16]);
    let listener = server.listen(ListenAt::Port(80), 4).unwrap();
    let (stream, accepted) = tokio::join!(client.connect(local(), remote()), listener.accept());
    let (mut stream, (mut accepted, _)) = (stream.unwrap(), accepted.unwrap());
    stream.shutdown().await.unwrap();
    assert_eq!(accepted.read(&mut [0; 9]).await.unwrap(), 0);
    loses.store(true, Ordering::Relaxed);
    accepted.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0; 9]).await.unwrap(), 0);
    drop((client, stream, accepted));
    let driven = timeout(PATIENCE, task).await.expect("it stays");
    driven.unwrap().unwrap();
    assert!(!loses.load(Ordering::Relaxed), "nothing was lost");
    assert_eq!(server.connections(), 0, "it waits for an acknowledgement");
}

/// Many at once, from threads that run at the same time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_are_served_at_once() {
    let pair = pair(50);
    let clients = (0..100_u8).map(|number| {
        let client = pair.client.clone();
        tokio::spawn(async move {
            let mut stream = client.connect(local(), remote()).await.unwrap();
            stream.write_all(&pattern(5_000, number)).await.unwrap();
            stream.shutdown().await.unwrap();
            let mut echo = Vec::new();
            stream.read_to_end(&mut echo).await.unwrap();
            assert!(echo == pattern(5_000, number));
        })
    });
    let clients: Vec<_> = clients.collect();
    let serve = async {
        for _ in 0..100 {
            let (stream, _) = pair.listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut from, mut to) = stream.into_split();
                tokio::io::copy(&mut from, &mut to).await.unwrap();
            });
        }
        for client in clients {
            client.await.unwrap();
        }
    };
    timeout(PATIENCE, serve).await.expect("it hangs");
    pair.end().await;
}
