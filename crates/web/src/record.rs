//! What the log is told of one request.

use std::net::SocketAddr;
use std::sync::Arc;

use http::{Method, StatusCode};
use packhorse_protocol::escape::Escaped;
use tokio::time::Instant;
use tracing::info;

use crate::body::BodyError;
use crate::service::Gatekeeper;

/// One request and what becomes of its answer; told when it is dropped.
///
/// Of the URL it has the path alone: the key may stand in the query.
pub(crate) struct Record {
    peer: SocketAddr,
    method: Method,
    path: String,
    status: StatusCode,
    start: Instant,
    sent: u64,
    expected: Option<u64>,
    ended: bool,
    error: Option<String>,
    /// Who is told once all of it is sent.
    completes: Option<Arc<dyn Gatekeeper>>,
}

impl Record {
    pub(crate) fn new(peer: SocketAddr, method: &Method, path: &str) -> Self {
        Self {
            peer,
            method: method.clone(),
            path: Escaped(path.as_bytes()).to_string(),
            status: StatusCode::OK,
            start: Instant::now(),
            sent: 0,
            expected: None,
            ended: false,
            error: None,
            completes: None,
        }
    }

    pub(crate) fn set_status(&mut self, status: StatusCode) {
        self.status = status;
    }

    /// The answer is a whole file or archive: a transfer.
    pub(crate) fn completes(&mut self, gatekeeper: &Arc<dyn Gatekeeper>) {
        self.completes = Some(Arc::clone(gatekeeper));
    }

    pub(crate) fn expect(&mut self, bytes: Option<u64>) {
        self.expected = bytes;
        self.ended = bytes == Some(0);
    }

    pub(crate) fn count(&mut self, bytes: usize) {
        self.sent += bytes as u64;
        if self.expected == Some(self.sent) {
            self.ended = true;
        }
    }

    pub(crate) fn end(&mut self) {
        self.ended = true;
    }

    pub(crate) fn fail(&mut self, error: &BodyError) {
        self.error = Some(error.to_string());
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let Self {
            peer,
            method,
            path,
            status,
            sent: bytes,
            ..
        } = &*self;
        let status = status.as_u16();
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = (*bytes as f64 / seconds.max(0.001)) as u64;
        match &self.error {
            None if self.ended => {
                info!(%peer, %method, %path, status, bytes, seconds, rate, "answered");
            }
            None => {
                let error = "the client left";
                info!(%peer, %method, %path, status, bytes, seconds, rate, error, "broken off");
            }
            Some(error) => {
                info!(%peer, %method, %path, status, bytes, seconds, rate, error, "broken off");
            }
        }
        if self.ended
            && let Some(gatekeeper) = &self.completes
        {
            gatekeeper.handle_complete();
        }
    }
}
