//! packetdrill's part, played by us: our scripts against the shared object's table of C functions.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use packhorse_packetdrill::{Caller, Failed};
use packhorse_sim::Instant;
use packhorse_sim::script::{Action, Library, Script, Stack, Variant, When};
use packhorse_sim::tcp_host::Reading;
use packhorse_sim::wire::{Flags, TcpOption, TcpPacket};
use packhorse_sim::world::Host;

/// How finely the host's time is followed.
const STEP: Duration = Duration::from_micros(500);

/// So many scripts can be said in sockets, at the least.
const SCRIPTS_MIN: usize = 150;

/// Against hangs only.
const HANG: Duration = Duration::from_secs(60);

/// Linux's states in the order of their numbers, from 1 on.
const STATES: [&str; 11] = [
    "ESTABLISHED",
    "SYN-SENT",
    "SYN-RECEIVED",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "CLOSED",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
];

/// A host behind the table. Calls that block are made on a second thread.
struct SocketHost {
    caller: Arc<Caller>,
    ends: [SocketAddr; 2],
    /// How much time has passed there.
    clock: Instant,
    socket: Option<i32>,
    /// What the call on the second thread gives.
    blocked: Option<Receiver<Result<i32, Failed>>>,
    wanted_isn: u32,
    /// What is added to our numbers so that they begin where the script has them.
    shift: Option<u32>,
}

impl SocketHost {
    fn new(flags: &str, variant: Variant) -> Self {
        Self {
            caller: Arc::new(Caller::new(flags)),
            ends: variant.addresses(),
            clock: Instant::default(),
            socket: None,
            blocked: None,
            wanted_isn: variant.isn_local,
            shift: None,
        }
    }

    fn pass(&mut self, now: Instant) {
        if now > self.clock {
            self.caller.sleep(now.saturating_since(self.clock));
            self.clock = now;
        }
    }

    fn open(&self) -> i32 {
        let socket = self
            .caller
            .socket(self.ends[0].is_ipv6())
            .expect("a socket");
        self.caller.bind(socket, self.ends[0]).expect("a free port");
        socket
    }

    /// Makes a call that blocks, and comes back once it does.
    fn block(&mut self, call: impl FnOnce(&Caller) -> Result<i32, Failed> + Send + 'static) {
        let (tell, told) = channel();
        let caller = Arc::clone(&self.caller);
        thread::spawn(move || {
            let outcome = call(&caller);
            // As packetdrill does, which notes when a call has ended.
            let _ = caller.micros();
            let _ = tell.send(outcome);
        });
        let look = Duration::from_millis(1);
        for _ in 0..HANG.as_millis() {
            if self.caller.waiting() > 0 {
                self.blocked = Some(told);
                return;
            }
            let ended = told.recv_timeout(look);
            assert!(ended.is_err(), "the call does not block: {ended:?}");
        }
        panic!("the call never comes in");
    }

    /// The connection's socket, once the call that makes it is over.
    fn socket(&mut self) -> Option<i32> {
        if self.caller.waiting() == 0
            && let Some(told) = self.blocked.take()
        {
            let outcome = told.recv_timeout(HANG).expect("the call is over");
            self.socket = outcome.ok();
            if let Some(socket) = self.socket {
                self.caller.set_nonblocking(socket).expect("a socket");
            }
        }
        self.socket
    }
}

impl Stack for SocketHost {
    fn connect(&mut self, now: Instant) {
        self.pass(now);
        let (socket, remote) = (self.open(), self.ends[1]);
        self.socket = Some(socket);
        self.block(move |caller| caller.connect(socket, remote).map(|()| socket));
    }

    fn listen(&mut self) {
        let listener = self.open();
        self.caller.listen(listener, 1).expect("it is the first");
        self.block(move |caller| caller.accept(listener));
    }

    fn write(&mut self, now: Instant, data: &[u8]) -> usize {
        self.pass(now);
        let socket = self.socket();
        socket.map_or(0, |socket| self.caller.write(socket, data).unwrap_or(0))
    }

    fn read(&mut self, now: Instant, most: usize) -> Reading {
        self.pass(now);
        let Some(socket) = self.socket() else {
            return Reading::Blocked;
        };
        match self.caller.read(socket, most) {
            Ok(data) if data.is_empty() => Reading::End,
            Ok(data) => Reading::Data(data.into()),
            Err(Failed(libc::EAGAIN)) => Reading::Blocked,
            Err(_) => Reading::Failed,
        }
    }

    fn shutdown(&mut self, now: Instant) {
        self.pass(now);
        let socket = self.socket().expect("there is a connection");
        self.caller.shutdown(socket).expect("it is open");
    }

    fn abort(&mut self, now: Instant) {
        self.pass(now);
        let socket = self.socket().expect("there is a connection");
        let linger = (libc::SOL_SOCKET, libc::SO_LINGER);
        let set = self.caller.set_option(socket, linger.0, linger.1, &[1, 0]);
        set.expect("it is open");
        self.caller.close(socket).expect("it is open");
    }

    fn state_name(&mut self) -> &'static str {
        match self.socket() {
            None => "LISTEN",
            Some(socket) => match self.caller.state(socket) {
                Ok(number) => STATES[usize::from(number) - 1],
                Err(_) => "CLOSED",
            },
        }
    }

    fn next_event(&mut self) -> Option<&'static str> {
        None
    }
}

impl Host for SocketHost {
    fn handle_packet(&mut self, now: Instant, packet: Bytes) {
        self.pass(now);
        let mut packet = TcpPacket::decode(&packet).expect("a script's segment");
        let shift = self.shift.unwrap_or(0);
        if packet.flags.has(Flags::ACK) {
            packet.ack = packet.ack.wrapping_sub(shift);
        }
        for option in &mut packet.options {
            if let TcpOption::Sack(blocks) = option {
                for (first, behind) in blocks {
                    *first = first.wrapping_sub(shift);
                    *behind = behind.wrapping_sub(shift);
                }
            }
        }
        self.caller.netdev_send(&packet.encode());
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.pass(now);
    }

    fn poll_transmit(&mut self, now: Instant) -> Option<Bytes> {
        self.pass(now);
        if self.caller.packets_waiting() == 0 {
            return None;
        }
        let (_, packet) = self.caller.netdev_receive()?;
        let mut packet = TcpPacket::decode(&packet).expect("a segment");
        if packet.flags.has(Flags::SYN) {
            self.shift = Some(self.wanted_isn.wrapping_sub(packet.seq));
        }
        // What goes to strangers has the numbers that they ask for.
        packet.seq = packet.seq.wrapping_add(self.shift.unwrap_or(0));
        Some(packet.encode())
    }

    fn poll_timeout(&self) -> Option<Instant> {
        Some(self.clock + STEP)
    }
}

/// What the settings of a script are among the flags; `None` if one has no place there.
fn flags(script: &Script, variant: Variant) -> Option<String> {
    let mtu = |mss: u32| mss + if variant.is_ipv6 { 60 } else { 40 };
    let defaults = [
        ("timestamps", "off"),
        ("window_scale", "off"),
        ("pacing", "off"),
        ("quick_acks", "0"),
        ("receive_buffer", "65535"),
    ];
    let mut flags: BTreeMap<_, _> = defaults
        .into_iter()
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    flags.insert("mtu", mtu(1_460).to_string());
    for setting in &script.settings {
        let (name, value) = (setting.name.as_str(), setting.value.clone());
        match name {
            "mss" => flags.insert("mtu", mtu(value.parse().ok()?).to_string()),
            "tolerance" | "compare_push" => continue,
            "ip" if (value == "6") == variant.is_ipv6 => continue,
            "receive_buffer" | "send_buffer" | "initial_window" | "quick_acks" | "nagle"
            | "timestamps" | "sack" | "window_scale" | "pacing" | "congestion" => {
                flags.insert(name, value)
            }
            _ => return None,
        };
    }
    let words = flags.iter().map(|(name, value)| format!("{name}={value}"));
    Some(words.collect::<Vec<_>>().join(","))
}

/// Whether sockets can show what the script looks at: they have no events, and a connection that
/// nobody has accepted yet has no socket, so no state.
fn is_for_sockets(script: &Script) -> bool {
    script.steps.iter().all(|step| match &step.action {
        Action::Event(_) => false,
        Action::State(name) => name != "SYN-RECEIVED" && name != "CLOSED",
        Action::Inject(pattern) => !pattern.is_raw && !pattern.has_bad_checksum,
        Action::Expect(pattern) => !pattern.is_raw,
        _ => true,
    })
}

/// A script in whose steps little time passes: the host's clock is followed in small steps.
fn is_short(script: &Script) -> bool {
    let most = Duration::from_secs(4);
    script.steps.iter().all(|step| match step.when {
        When::At(span) | When::After(span) => span < most,
        When::Between(_, latest) => latest < most,
        When::Whenever => false,
    })
}

#[test]
fn our_scripts_hold_behind_the_interface_of_packetdrill() {
    let library = Library::open().expect("the scripts are there");
    let mut played = Vec::new();
    let mut failed = Vec::new();
    for name in library.names() {
        let text = library.text(name).expect("it is there");
        let script = Script::parse(&text, &|name| library.text(name).ok()).expect("it is a script");
        for variant in [Variant::ALL[0], Variant::ALL[5]] {
            let Some(flags) = flags(&script, variant) else {
                continue;
            };
            if !is_for_sockets(&script) || !is_short(&script) {
                continue;
            }
            let host = SocketHost::new(&flags, variant);
            match script.play_on(variant, host) {
                Ok(()) => played.push(name),
                Err(failure) => failed.push(format!("{name}: {failure}")),
            }
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(
        played.len() >= 2 * SCRIPTS_MIN,
        "{} were played",
        played.len()
    );
}
