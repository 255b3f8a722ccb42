//! One connection, and a peer whose every segment is written by hand.

use std::time::Duration;

use bytes::Bytes;
use packhorse_tcp::wire::{Ecn, Packet};
use packhorse_tcp::{
    Config, Connection, Event, Flags, Instant, Options, Read, SackBlock, Segment, SeqNumber, State,
    Timestamps,
};

/// The peer's initial sequence number and ours: both wrap early.
const PEER_ISN: u32 = u32::MAX - 20;
const OUR_ISN: u32 = u32::MAX - 3_000;

/// A connection under test. Numbers in tests count from the initial ones: 0 is the SYN,
/// 1 the first byte.
pub(crate) struct Lab {
    pub(crate) now: Instant,
    pub(crate) connection: Connection,
}

/// A segment with numbers counted from the initial ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Say {
    pub(crate) seq: u32,
    pub(crate) ack: Option<u32>,
    pub(crate) flags: Flags,
    pub(crate) window: u16,
    pub(crate) sack: Vec<(u32, u32)>,
    pub(crate) options: Options,
    pub(crate) data: Bytes,
}

/// A segment of the peer's.
pub(crate) fn say(seq: u32, ack: impl Into<Option<u32>>) -> Say {
    Say {
        seq,
        ack: ack.into(),
        flags: Flags::NONE,
        window: 60_000,
        sack: Vec::new(),
        options: Options::default(),
        data: Bytes::new(),
    }
}

impl Say {
    pub(crate) fn flag(mut self, flags: Flags) -> Self {
        self.flags = self.flags | flags;
        self
    }

    pub(crate) fn data(mut self, length: usize) -> Self {
        self.data = vec![b'x'; length].into();
        self
    }

    pub(crate) fn window(mut self, window: u16) -> Self {
        self.window = window;
        self
    }

    pub(crate) fn sack(mut self, blocks: &[(u32, u32)]) -> Self {
        self.sack = blocks.to_vec();
        self
    }

    pub(crate) fn stamp(mut self, value: u32, echo: u32) -> Self {
        self.options.timestamps = Some(Timestamps { value, echo });
        self
    }

    pub(crate) fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// As it goes from the peer to us.
    pub(crate) fn segment(&self) -> Segment {
        let peers = |number| SeqNumber::new(PEER_ISN).advanced_by(number);
        let ours = |number| SeqNumber::new(OUR_ISN).advanced_by(number);
        let mut segment = Segment::new(peers(self.seq), self.ack.map(ours));
        segment.flags = self.flags;
        segment.window = self.window;
        segment.options = self.options;
        let blocks = self.sack.iter().map(|(left, right)| SackBlock {
            left: ours(*left),
            right: ours(*right),
        });
        segment.options.sack = blocks.collect();
        segment.payload = self.data.clone();
        segment
    }

    /// What we sent, as the peer sees it.
    fn heard(segment: &Segment) -> Self {
        let from = |number: SeqNumber, isn| number.get().wrapping_sub(isn);
        let blocks = segment.options.sack.as_slice().iter();
        let sack = blocks.map(|block| (from(block.left, PEER_ISN), from(block.right, PEER_ISN)));
        Self {
            seq: from(segment.seq, OUR_ISN),
            ack: segment.ack.map(|ack| from(ack, PEER_ISN)),
            flags: segment.flags,
            window: segment.window,
            sack: sack.collect(),
            options: segment.options,
            data: segment.payload.clone(),
        }
    }

    /// Sequence number, acknowledgement and length: what most tests look at.
    pub(crate) fn brief(&self) -> (u32, Option<u32>, usize) {
        (self.seq, self.ack, self.data.len())
    }
}

/// A configuration in which nothing happens that a test does not ask for.
pub(crate) fn plain() -> Config {
    Config {
        timestamps: false,
        window_scale: false,
        pacing: false,
        quick_acks: 0,
        receive_buffer_bytes: 20_000,
        ..Config::default()
    }
}

/// The options of a peer's SYN that takes 1,000 bytes and SACK.
pub(crate) fn syn_options() -> Options {
    Options {
        mss: Some(1_000),
        sack_permitted: true,
        ..Options::default()
    }
}

impl Lab {
    /// A connection that has sent its SYN.
    pub(crate) fn syn_sent(config: &Config) -> Self {
        let now = Instant::from_millis(10_000);
        let connection = Connection::connect(
            config,
            "192.0.2.1:4000".parse().unwrap(),
            "192.0.2.2:80".parse().unwrap(),
            SeqNumber::new(OUR_ISN),
            now,
        );
        let mut lab = Self { now, connection };
        let sent = lab.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!((sent[0].seq, sent[0].flags), (0, Flags::SYN));
        lab
    }

    /// A connection that has answered a SYN.
    pub(crate) fn syn_received(config: &Config, options: Options) -> Self {
        let now = Instant::from_millis(10_000);
        let syn = say(0, None).flag(Flags::SYN).options(options);
        let packet = Packet {
            source: "192.0.2.2:80".parse().unwrap(),
            destination: "192.0.2.1:4000".parse().unwrap(),
            ecn: Ecn::NotCapable,
            segment: syn.segment(),
        };
        let isn = SeqNumber::new(OUR_ISN);
        let connection = Connection::accept(config, &packet, isn, now).unwrap();
        let mut lab = Self { now, connection };
        let sent = lab.sent();
        assert_eq!(sent.len(), 1);
        assert_eq!(
            (sent[0].brief(), sent[0].flags),
            ((0, Some(1), 0), Flags::SYN)
        );
        lab
    }

    /// An established connection; the handshake took 100 ms.
    pub(crate) fn established(config: &Config) -> Self {
        Self::established_with(config, syn_options())
    }

    pub(crate) fn established_with(config: &Config, options: Options) -> Self {
        let mut lab = Self::syn_received(config, options);
        lab.pass(100);
        let mut ack = say(1, 1);
        if let Some(stamp) = options.timestamps {
            ack = ack.stamp(stamp.value, 0);
        }
        assert_eq!(lab.hear(ack), []);
        assert_eq!(lab.connection.state(), State::Established);
        assert_eq!(lab.events(), [Event::Connected]);
        lab
    }

    /// A connection in `state`, reached as such connections are.
    pub(crate) fn in_state(config: &Config, state: State) -> Self {
        let mut lab = match state {
            State::SynSent => return Self::syn_sent(config),
            State::SynReceived => return Self::syn_received(config, syn_options()),
            _ => Self::established(config),
        };
        let fin = || say(1, 1).flag(Flags::FIN);
        match state {
            State::CloseWait | State::LastAck => {
                lab.hear(fin());
            }
            State::FinWait1 | State::FinWait2 | State::Closing | State::TimeWait => {
                lab.connection.shutdown(lab.now);
                assert_eq!(lab.sent().len(), 1);
            }
            _ => {}
        }
        match state {
            State::FinWait2 | State::TimeWait => {
                lab.hear(say(1, 2));
            }
            State::Closing => {
                lab.hear(fin());
            }
            State::LastAck => {
                lab.connection.shutdown(lab.now);
                assert_eq!(lab.sent().len(), 1);
            }
            State::Closed => lab.connection.abort(lab.now),
            _ => {}
        }
        if state == State::TimeWait {
            lab.hear(say(1, 2).flag(Flags::FIN));
        }
        lab.sent();
        lab.events();
        assert_eq!(lab.connection.state(), state);
        lab
    }

    /// Lets `millis` pass, with whatever is due in them; gives what was sent.
    pub(crate) fn pass(&mut self, millis: u64) -> Vec<Say> {
        let end = self.now + Duration::from_millis(millis);
        let mut sent = Vec::new();
        while let Some(deadline) = self.connection.poll_timeout()
            && deadline.at() <= end
        {
            self.now = self.now.max(deadline.at());
            self.connection.handle_timeout(self.now);
            sent.extend(self.sent());
        }
        self.now = end;
        sent
    }

    /// Lets time pass until something is sent; gives that, and how many milliseconds it took.
    pub(crate) fn pass_until_sent(&mut self) -> (u64, Vec<Say>) {
        let start = self.now;
        for _ in 0..1_000 {
            let deadline = self.connection.poll_timeout().expect("nothing is due");
            self.now = self.now.max(deadline.at());
            self.connection.handle_timeout(self.now);
            let sent = self.sent();
            if !sent.is_empty() {
                let span = self.now.saturating_since(start);
                return (span.as_millis() as u64, sent);
            }
        }
        panic!("nothing is sent");
    }

    /// The peer sends a segment; gives what is sent in turn.
    pub(crate) fn hear(&mut self, said: Say) -> Vec<Say> {
        self.connection.handle_segment(self.now, said.segment());
        self.sent()
    }

    /// Writes `length` bytes; gives what is sent.
    pub(crate) fn write(&mut self, length: usize) -> Vec<Say> {
        let data = Bytes::from(vec![b'y'; length]);
        assert_eq!(self.connection.write(self.now, data), length);
        self.sent()
    }

    /// Everything that is sent now.
    pub(crate) fn sent(&mut self) -> Vec<Say> {
        let mut sent = Vec::new();
        while let Some(transmit) = self.connection.poll_transmit(self.now, 1) {
            sent.extend(transmit.packets().map(|packet| Say::heard(&packet.segment)));
            assert!(sent.len() < 10_000, "a storm");
        }
        sent
    }

    pub(crate) fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.connection.poll_event()).collect()
    }

    /// Reads everything that is there; gives its length.
    pub(crate) fn read(&mut self) -> usize {
        let mut length = 0;
        while let Read::Data(data) = self.connection.read(self.now, usize::MAX) {
            length += data.len();
        }
        length
    }
}

/// Sequence numbers, acknowledgements and lengths of several segments.
pub(crate) fn briefs(sent: &[Say]) -> Vec<(u32, Option<u32>, usize)> {
    sent.iter().map(Say::brief).collect()
}

/// Every state that a connection can be in.
pub(crate) const STATES: [State; 10] = [
    State::SynSent,
    State::SynReceived,
    State::Established,
    State::FinWait1,
    State::FinWait2,
    State::CloseWait,
    State::Closing,
    State::LastAck,
    State::TimeWait,
    State::Closed,
];
