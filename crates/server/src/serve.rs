//! The server: takes connections in, keeps to its limits, and ends in good order.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use packhorse_protocol::key::{Pin, Token};
use packhorse_protocol::message::Completion;
use packhorse_storage::source::Source;
use packhorse_storage::workers::DiskWorkers;
use packhorse_transport::accept::{Accept, AcceptError};
use packhorse_transport::frame_buffers::FrameBuffers;
use packhorse_transport::throttle::Throttle;
use packhorse_web::Web;
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{error, warn};

use crate::clients::Clients;
use crate::connection::{self, ConnectionError};
use crate::http::web_settings;
use crate::limits::{EXHAUSTED_WAIT, Limits};

/// Memory of groups that were sent, kept for the next ones.
const FREE_BUFFERS_MAX: usize = 16;

/// What a server does besides listening.
#[derive(Debug)]
pub struct ServerSettings {
    /// What a client must prove that it has; `None` gives read access to anyone.
    pub token: Option<Token>,
    /// The limits.
    pub limits: Limits,
    /// Bytes a second that leave the server, all clients together.
    pub rate_limit: Option<u64>,
    /// End after one transfer that a client reports as complete.
    pub once: bool,
    /// Also serve clear text that is not HTTP, to anyone: the plain mode.
    pub plain: bool,
    /// Also answer HTTP without TLS; without this, such a client only learns where to go.
    pub clear_http: bool,
    /// The identity that clients are shown, for the native address on web pages.
    pub pin: Pin,
    /// While the server leaves: how long a client without a request may stay.
    pub leave_idle_time: Duration,
}

/// A server of one source.
pub struct Server<A> {
    shared: Arc<Shared<A>>,
}

/// Ends a server from outside; may be cloned and kept.
#[derive(Debug, Clone)]
pub struct Stop {
    stage: watch::Sender<Stage>,
}

/// Looks at what a server does; may be cloned and kept.
#[derive(Debug, Clone)]
pub struct Watch {
    clients: Arc<Clients>,
    sent_bytes: Arc<AtomicU64>,
}

/// How far a server is on its way to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Open,
    /// No new clients; those that are here finish.
    Leaving,
    /// Everything ends at once.
    Ended,
}

/// What all connections of a server share.
pub(crate) struct Shared<A> {
    pub(crate) accept: A,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) workers: Arc<DiskWorkers>,
    pub(crate) web: Web,
    pub(crate) settings: ServerSettings,
    pub(crate) clients: Arc<Clients>,
    /// In MiB.
    pub(crate) ahead: Arc<Semaphore>,
    pub(crate) buffers: Arc<FrameBuffers>,
    pub(crate) throttle: Option<Throttle>,
    /// Held by work that is measured.
    pub(crate) measuring: Arc<Mutex<()>>,
    /// Bytes that have left for clients of all kinds.
    pub(crate) sent_bytes: Arc<AtomicU64>,
    pub(crate) stage: watch::Sender<Stage>,
}

impl Stop {
    /// No new clients; running transfers may finish.
    pub fn leave(&self) {
        self.stage.send_if_modified(|stage| {
            let open = *stage == Stage::Open;
            if open {
                *stage = Stage::Leaving;
            }
            open
        });
    }

    /// Ends everything at once.
    pub fn end(&self) {
        self.stage.send_replace(Stage::Ended);
    }
}

impl Watch {
    /// Connections that are admitted now.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.clients.proven() as u64
    }

    /// Bytes that have left for clients so far, before encryption.
    #[must_use]
    pub fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }
}

impl<A: Accept> Server<A> {
    /// A server of `source` for whoever arrives at `accept`.
    pub fn new(
        accept: A,
        source: Arc<dyn Source>,
        workers: Arc<DiskWorkers>,
        settings: ServerSettings,
    ) -> Self {
        let Limits {
            clients_max,
            unproven_max,
            ahead_bytes,
            ..
        } = settings.limits;
        let web = Web::new(
            Arc::clone(&source),
            Arc::clone(&workers),
            web_settings(&settings),
        );
        Self {
            shared: Arc::new(Shared {
                accept,
                source,
                workers,
                web,
                clients: Arc::new(Clients::new(clients_max, unproven_max)),
                ahead: Arc::new(Semaphore::new(ahead_bytes >> 20)),
                buffers: Arc::new(FrameBuffers::new(FREE_BUFFERS_MAX)),
                throttle: settings.rate_limit.map(Throttle::new),
                measuring: Arc::default(),
                sent_bytes: Arc::default(),
                stage: watch::Sender::new(Stage::Open),
                settings,
            }),
        }
    }

    /// What ends this server.
    #[must_use]
    pub fn stop(&self) -> Stop {
        Stop {
            stage: self.shared.stage.clone(),
        }
    }

    /// What looks at this server.
    #[must_use]
    pub fn watch(&self) -> Watch {
        Watch {
            clients: Arc::clone(&self.shared.clients),
            sent_bytes: Arc::clone(&self.shared.sent_bytes),
        }
    }

    /// Serves until it is told to stop; running transfers then get `grace`.
    pub async fn run(self, grace: Duration) {
        let mut tasks = JoinSet::new();
        let all_left = tokio::select! {
            never = self.take_in(&mut tasks) => match never {},
            all_left = self.until_left(grace) => all_left,
        };
        if !all_left {
            warn!("ended while transfers were running");
        }
        tasks.shutdown().await;
    }

    /// Takes in whoever arrives, also while the server leaves: then to be told so.
    async fn take_in(&self, tasks: &mut JoinSet<()>) -> Infallible {
        loop {
            tokio::select! {
                accepted = self.shared.accept.accept() => match accepted {
                    Ok((raw, peer)) => {
                        let place = self.shared.clients.arrive();
                        tasks.spawn(connection::serve(Arc::clone(&self.shared), raw, peer, place));
                    }
                    Err(error) => self.recover(error).await,
                },
                Some(ended) = tasks.join_next() => log_panic(ended),
            }
        }
    }

    /// Returns once the server was told to stop, and whether all clients have left by then.
    async fn until_left(&self, grace: Duration) -> bool {
        let mut stage = self.shared.stage.subscribe();
        // The sender lives in what is shared.
        let _ = stage.wait_for(|stage| *stage != Stage::Open).await;
        tokio::select! {
            left = timeout(grace, self.shared.clients.all_left()) => left.is_ok(),
            _ = stage.wait_for(|stage| *stage == Stage::Ended) => false,
        }
    }

    /// Deals with a failed accept. Where nothing more can arrive, those who are here finish.
    async fn recover(&self, error: AcceptError) {
        match error {
            AcceptError::Gone(_) => {}
            AcceptError::Exhausted(_) => {
                warn!(%error, "waiting");
                self.shared.clients.send_oldest_away();
                sleep(EXHAUSTED_WAIT).await;
            }
            AcceptError::Broken(_) => {
                error!(%error, "ending");
                self.stop().leave();
                std::future::pending().await
            }
        }
    }
}

impl<A: Sync> Shared<A> {
    /// Has a disk worker do `work`.
    pub(crate) async fn work<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ConnectionError> {
        let done = self.workers.run(work);
        done.await.map_err(|_| ConnectionError::NoWorkers)
    }

    /// Bytes have left for a client.
    pub(crate) fn handle_sent(&self, bytes: usize) {
        self.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A client has all it came for.
    pub(crate) fn handle_complete(&self, completion: Completion) {
        if self.settings.once && completion.failed == 0 {
            Stop {
                stage: self.stage.clone(),
            }
            .leave();
        }
    }
}

fn log_panic(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        error!(%error, "a connection's task failed; this is a defect of Packhorse");
    }
}
