//! The server's end of a connection.

use std::collections::BTreeSet;

use super::Violation;
use crate::filter::Filter;
use crate::frame::FrameType;
use crate::key::Token;
use crate::limits::{
    FILES_PER_REQUEST_MAX, HELLO_BYTES_MAX, REQUEST_BYTES_MAX, REQUESTS_MAX, TREES_MAX,
};
use crate::message::{
    Denial, FEATURE_MEASURE, Hello, PROTOCOL_VERSION, Request, Welcome, decode, encode,
};
use crate::proof::{ChannelBinding, Proof, Prover};

/// The server's end: admits a client, then passes on what it may ask.
#[derive(Debug)]
pub struct ServerSession {
    token: Option<Token>,
    binding: ChannelBinding,
    admitted: bool,
    /// Those that both sides have.
    features: u64,
    unanswered: usize,
    completed: bool,
    trees: BTreeSet<u32>,
}

/// What a frame from the client means.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerEvent {
    /// The client is who it must be; send the frame.
    Admitted(Vec<u8>),
    /// The client is not admitted; send the frame, then close. After [`Denial::Access`] the driver
    /// waits first, so that guessing is slow.
    Denied(Denial, Vec<u8>),
    /// Perform the request. All but `CloseTree` and `Complete` are answered, and
    /// [`ServerSession::handle_answered`] is called behind the answer.
    Request(Request),
}

impl ServerSession {
    /// A session over the connection that `binding` belongs to; `token` is `None` on an open server.
    #[must_use]
    pub fn new(token: Option<Token>, binding: ChannelBinding) -> Self {
        Self {
            token,
            binding,
            admitted: false,
            features: 0,
            unanswered: 0,
            completed: false,
            trees: BTreeSet::new(),
        }
    }

    /// How long a body may be now, in bytes.
    #[must_use]
    pub fn body_bytes_max(&self) -> usize {
        if self.admitted {
            REQUEST_BYTES_MAX
        } else {
            HELLO_BYTES_MAX
        }
    }

    /// Whether the client has been admitted.
    #[must_use]
    pub fn is_admitted(&self) -> bool {
        self.admitted
    }

    /// Takes a frame from the client.
    ///
    /// # Errors
    /// The client broke the protocol: close the connection.
    pub fn handle_frame(&mut self, kind: FrameType, body: &[u8]) -> Result<ServerEvent, Violation> {
        if !self.admitted {
            return self.handle_hello(kind, body);
        }
        let request = Request::decode(kind, body)?;
        self.check(&request)?;
        Ok(ServerEvent::Request(request))
    }

    /// One request has been answered to its end.
    pub fn handle_answered(&mut self) {
        self.unanswered = self.unanswered.saturating_sub(1);
    }

    /// What to send to a client that is turned away for a reason of the driver's own.
    #[must_use]
    pub fn deny(denial: Denial) -> ServerEvent {
        ServerEvent::Denied(denial, encode(FrameType::Denied, &denial))
    }

    fn handle_hello(&mut self, kind: FrameType, body: &[u8]) -> Result<ServerEvent, Violation> {
        if kind != FrameType::Hello {
            return Err(Violation::Unexpected(kind));
        }
        // A greeting of another version may have another form: its first byte decides alone.
        if body
            .first()
            .is_some_and(|&version| version != PROTOCOL_VERSION)
        {
            return Ok(Self::deny(Denial::Version));
        }
        let hello: Hello = decode(kind, body)?;
        let proof = match &self.token {
            None => None,
            Some(token) => {
                let expected = Proof::new(token, &self.binding, Prover::Client);
                if hello.proof != Some(expected) {
                    return Ok(Self::deny(Denial::Access));
                }
                Some(Proof::new(token, &self.binding, Prover::Server))
            }
        };
        self.admitted = true;
        self.features = hello.features & FEATURE_MEASURE;
        let welcome = Welcome {
            version: PROTOCOL_VERSION,
            features: self.features,
            proof,
        };
        Ok(ServerEvent::Admitted(encode(FrameType::Welcome, &welcome)))
    }

    fn check(&mut self, request: &Request) -> Result<(), Violation> {
        match request {
            Request::Tree(tree) => {
                Filter::new(&tree.patterns).map_err(|_| Violation::Patterns)?;
                if self.trees.len() == TREES_MAX || !self.trees.insert(tree.tree) {
                    return Err(Violation::TooManyTrees);
                }
            }
            Request::More { tree } if !self.trees.contains(tree) => {
                return Err(Violation::UnknownTree);
            }
            Request::CloseTree { tree } => {
                return if self.trees.remove(tree) {
                    Ok(())
                } else {
                    Err(Violation::UnknownTree)
                };
            }
            Request::Fetch(fetch) if fetch.paths.len() > FILES_PER_REQUEST_MAX => {
                return Err(Violation::TooManyRequests);
            }
            // It is not answered, so nothing else would bound how many wait.
            Request::Complete(_) if self.completed => return Err(Violation::Excess),
            Request::Complete(_) => {
                self.completed = true;
                return Ok(());
            }
            Request::Measure(_) if self.features & FEATURE_MEASURE == 0 => {
                return Err(Violation::Unexpected(FrameType::Measure));
            }
            Request::More { .. } | Request::Fetch(_) | Request::Read(_) | Request::Measure(_) => {}
        }
        self.unanswered += 1;
        if self.unanswered > REQUESTS_MAX {
            Err(Violation::TooManyRequests)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame::FRAME_HEADER_BYTES;
    use crate::message::{Completion, FetchRequest, MeasureRequest, MeasureWhat, TreeRequest};
    use crate::path::RelativePath;

    const BINDING: ChannelBinding = ChannelBinding([3; 32]);

    fn token() -> Token {
        Token::from([1; 16])
    }

    fn hello(proof: Option<Proof>) -> Vec<u8> {
        let hello = Hello {
            version: PROTOCOL_VERSION,
            features: 0,
            proof,
        };
        encode(FrameType::Hello, &hello).split_off(FRAME_HEADER_BYTES)
    }

    fn admitted() -> ServerSession {
        let mut session = ServerSession::new(None, BINDING);
        session
            .handle_frame(FrameType::Hello, &hello(None))
            .unwrap();
        session
    }

    fn body(request: &Request) -> Vec<u8> {
        request.encode().split_off(FRAME_HEADER_BYTES)
    }

    fn tree(tree: u32) -> Request {
        Request::Tree(TreeRequest {
            tree,
            path: RelativePath::ROOT,
            options: Default::default(),
            recursive: true,
            inline_bytes_max: 0,
            patterns: Default::default(),
            cursor: None,
        })
    }

    #[test]
    fn only_the_right_proof_is_admitted() {
        let right = Proof::new(&token(), &BINDING, Prover::Client);
        let other_connection = Proof::new(&token(), &ChannelBinding([4; 32]), Prover::Client);
        let reflected = Proof::new(&token(), &BINDING, Prover::Server);
        let other_token = Proof::new(&Token::from([2; 16]), &BINDING, Prover::Client);
        let mut cases = vec![
            (Some(right), true),
            (None, false),
            (Some(other_connection), false),
            (Some(reflected), false),
            (Some(other_token), false),
        ];
        for prefix in 0..32 {
            let mut bytes = [0; 32];
            bytes[..prefix].copy_from_slice(&right.as_bytes()[..prefix]);
            cases.push((Some(Proof::from(bytes)), false));
        }
        for (proof, may) in cases {
            let mut session = ServerSession::new(Some(token()), BINDING);
            let event = session
                .handle_frame(FrameType::Hello, &hello(proof))
                .unwrap();
            assert_eq!(matches!(event, ServerEvent::Admitted(_)), may);
            assert_eq!(
                matches!(event, ServerEvent::Denied(Denial::Access, _)),
                !may
            );
            assert_eq!(session.is_admitted(), may);
        }
    }

    #[test]
    fn another_version_is_denied_whatever_follows() {
        let mut session = ServerSession::new(None, BINDING);
        let event = session
            .handle_frame(FrameType::Hello, &[2, 255, 255])
            .unwrap();
        assert!(matches!(event, ServerEvent::Denied(Denial::Version, _)));
    }

    #[test]
    fn nothing_comes_before_the_greeting_and_no_second_one() {
        let mut session = ServerSession::new(None, BINDING);
        let early = session.handle_frame(FrameType::Tree, &body(&tree(1)));
        assert_eq!(early, Err(Violation::Unexpected(FrameType::Tree)));
        let again = admitted().handle_frame(FrameType::Hello, &hello(None));
        assert_eq!(again, Err(Violation::Unexpected(FrameType::Hello)));
        let answer = admitted().handle_frame(FrameType::Page, &[]);
        assert_eq!(answer, Err(Violation::Unexpected(FrameType::Page)));
    }

    #[test]
    fn limits_hold() {
        let mut session = admitted();
        for number in 0..4 {
            session
                .handle_frame(FrameType::Tree, &body(&tree(number)))
                .unwrap();
        }
        let fifth = session.handle_frame(FrameType::Tree, &body(&tree(4)));
        assert_eq!(fifth, Err(Violation::TooManyTrees));
        let unknown = session.handle_frame(FrameType::More, &body(&Request::More { tree: 9 }));
        assert_eq!(unknown, Err(Violation::UnknownTree));
        for _ in 4..REQUESTS_MAX {
            session
                .handle_frame(FrameType::More, &body(&Request::More { tree: 1 }))
                .unwrap();
        }
        let more = session.handle_frame(FrameType::More, &body(&Request::More { tree: 1 }));
        assert_eq!(more, Err(Violation::TooManyRequests));
        let files = FetchRequest {
            options: Default::default(),
            paths: vec![RelativePath::ROOT; 1025],
        };
        let fetch = admitted().handle_frame(FrameType::Fetch, &body(&Request::Fetch(files)));
        assert_eq!(fetch, Err(Violation::TooManyRequests));
    }

    #[test]
    fn only_who_has_said_so_may_have_things_measured() {
        let measure = |groups| {
            body(&Request::Measure(MeasureRequest {
                what: MeasureWhat::Path,
                groups,
            }))
        };
        let unasked = admitted().handle_frame(FrameType::Measure, &measure(1));
        assert_eq!(unasked, Err(Violation::Unexpected(FrameType::Measure)));
        let mut session = ServerSession::new(None, BINDING);
        // Features that nobody knows are not agreed on.
        let hello = Hello {
            version: PROTOCOL_VERSION,
            features: u64::MAX,
            proof: None,
        };
        let hello = encode(FrameType::Hello, &hello).split_off(FRAME_HEADER_BYTES);
        let event = session.handle_frame(FrameType::Hello, &hello).unwrap();
        let ServerEvent::Admitted(welcome) = event else {
            panic!("{event:?}");
        };
        let welcome: Welcome = decode(FrameType::Welcome, &welcome[FRAME_HEADER_BYTES..]).unwrap();
        assert_eq!(welcome.features, FEATURE_MEASURE);
        for (groups, may) in [(0, true), (64, true), (65, false), (u64::MAX, false)] {
            let event = session.handle_frame(FrameType::Measure, &measure(groups));
            assert_eq!(event.is_ok(), may, "{groups}: {event:?}");
        }
    }

    #[test]
    fn all_is_done_only_once() {
        let complete = Request::Complete(Completion {
            files: 0,
            bytes: 0,
            failed: 0,
        });
        let mut session = admitted();
        session
            .handle_frame(FrameType::Complete, &body(&complete))
            .unwrap();
        let again = session.handle_frame(FrameType::Complete, &body(&complete));
        assert_eq!(again, Err(Violation::Excess));
    }

    #[test]
    fn every_cut_of_a_request_is_refused() {
        let whole = body(&tree(1));
        for end in 0..whole.len() {
            let cut = admitted().handle_frame(FrameType::Tree, &whole[..end]);
            assert_eq!(
                cut,
                Err(Violation::Malformed(FrameType::Tree)),
                "cut to {end}"
            );
        }
        let longer = [whole, vec![0]].concat();
        assert!(admitted().handle_frame(FrameType::Tree, &longer).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(kind in 0u8..=80, body: Vec<u8>) {
            let Some(kind) = FrameType::from_byte(kind) else { return Ok(()) };
            let _ = ServerSession::new(Some(token()), BINDING).handle_frame(kind, &body);
            let _ = admitted().handle_frame(kind, &body);
        }
    }
}
