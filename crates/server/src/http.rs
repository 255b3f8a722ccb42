//! HTTP streams on their way to the room where they are answered.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use packhorse_protocol::message::Completion;
use packhorse_transport::accept::{Accept, HttpVersion};
use packhorse_web::{Conversation, Gatekeeper, Pace, WebError, WebSettings};
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::info;

use crate::clients::Place;
use crate::seen_off::SeenOff;
use crate::serve::{ServerSettings, Shared, Stage};

/// How long a client that got all in TLS or HTTP/2 may take to leave before it is told to.
const FAREWELL_TIME: Duration = Duration::from_secs(10);

/// A file or an archive, to its end.
const WHOLE: Completion = Completion {
    files: 1,
    bytes: 0,
    failed: 0,
};

/// A client that speaks HTTP, and may not have shown a key yet.
pub(crate) struct HttpClient<S> {
    pub(crate) stream: S,
    pub(crate) version: HttpVersion,
    pub(crate) secure: bool,
}

/// What answers the requests of a server with these settings.
pub(crate) fn web_settings(settings: &ServerSettings) -> WebSettings {
    let limits = &settings.limits;
    let defaults = packhorse_web::Limits::default();
    WebSettings {
        token: settings.token.clone(),
        pin: settings.pin,
        clear_text: settings.clear_http,
        limits: packhorse_web::Limits {
            header_time: defaults.header_time.min(limits.idle_time),
            stall_time: limits.stall_time,
            denial_time: limits.denial_time,
            ahead_bytes: limits.ahead_bytes,
            ..defaults
        },
    }
}

/// Answers requests until the client has no more, the server leaves, or the place is taken back.
pub(crate) async fn serve<A: Accept>(
    shared: &Arc<Shared<A>>,
    client: HttpClient<A::Stream>,
    peer: SocketAddr,
    place: Place,
) {
    let HttpClient {
        stream,
        version,
        secure,
    } = client;
    let sent_away = place.sent_away();
    let gate = Arc::new(Gate {
        shared: Arc::clone(shared),
        peer,
        place: Mutex::new(place),
        has_sent_whole: watch::Sender::new(false),
    });
    let mut has_sent_whole = gate.has_sent_whole.subscribe();
    // A reset at the end says that the client has not read all. Not so behind our own last word in
    // TLS or HTTP/2: a client that has all may leave without reading that. So it is to leave first.
    let has_last_word = secure || version == HttpVersion::Http2;
    let farewell_time = match has_last_word {
        true => FAREWELL_TIME,
        false => Duration::ZERO,
    };
    let pace = shared
        .throttle
        .is_some()
        .then(|| Shares(Arc::clone(shared)));
    let conversation = Conversation {
        stream: SeenOff::new(
            stream,
            has_last_word,
            has_sent_whole.clone(),
            shared.settings.limits.stall_time,
        ),
        peer,
        is_http2: version == HttpVersion::Http2,
        secure,
        gatekeeper: Arc::clone(&gate) as Arc<dyn Gatekeeper>,
        pace: pace.map(|shares| Arc::new(shares) as Arc<dyn Pace>),
    };
    let mut stage = shared.stage.subscribe();
    let leaving = async move {
        // The senders live in what is shared, and in the gate.
        tokio::select! {
            _ = stage.wait_for(|stage| *stage != Stage::Open) => {}
            () = async {
                let _ = has_sent_whole.wait_for(|has_sent| *has_sent).await;
                sleep(farewell_time).await;
            } => {}
        }
    };
    let result = tokio::select! {
        result = shared.web.serve(conversation, leaving) => result,
        () = sent_away => Err(WebError::Http("it had to make room before it showed a key".into())),
    };
    if result.is_ok() && *gate.has_sent_whole.borrow() {
        shared.handle_complete(WHOLE);
    }
    match (gate.is_proven(), result) {
        (true, Ok(())) => info!(%peer, "left"),
        (true, Err(error)) => info!(%peer, %error, "lost"),
        (false, Ok(())) => info!(%peer, "turned away"),
        (false, Err(error)) => info!(%peer, %error, "turned away"),
    }
}

/// Where an HTTP client becomes one that is known.
struct Gate<A> {
    shared: Arc<Shared<A>>,
    peer: SocketAddr,
    place: Mutex<Place>,
    /// All of a file or archive has left for the client; whether it arrives shows at the end. Set
    /// only where the server ends with that.
    has_sent_whole: watch::Sender<bool>,
}

impl<A> Gate<A> {
    fn is_proven(&self) -> bool {
        self.lock().is_proven()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Place> {
        self.place.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<A: Accept> Gatekeeper for Gate<A> {
    fn admit(&self) -> bool {
        let admitted = *self.shared.stage.borrow() == Stage::Open && self.lock().prove();
        if admitted {
            info!(peer = %self.peer, mode = "http", "connected");
        }
        admitted
    }

    fn handle_complete(&self) {
        if self.shared.settings.once {
            self.has_sent_whole.send_replace(true);
        }
    }
}

/// The rate of a server.
struct Shares<A>(Arc<Shared<A>>);

impl<A: Accept> Pace for Shares<A> {
    fn pass(&self, bytes: usize) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let shared = Arc::clone(&self.0);
        Box::pin(async move {
            if let Some(throttle) = &shared.throttle {
                throttle.pass(bytes).await;
            }
        })
    }
}
