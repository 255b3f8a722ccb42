//! HTTP/2 on one connection.

use std::future::Future;
use std::pin::pin;

use hyper::server::conn::http2::{Builder, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until};

use crate::activity::Activity;
use crate::limits::Limits;
use crate::line::Line;
use crate::service::{Answering, WebError};

/// The least that HTTP/2 allows: requests have no bodies here.
const WINDOW_BYTES: u32 = 65_535;

/// What a stream takes before the connection has taken it.
const SEND_BYTES_MAX: usize = 64 << 10;

/// Answers requests to the end of the connection, or from `leaving` on those that are under way.
pub(crate) async fn serve<S>(
    line: Line<S>,
    answering: Answering,
    limits: &Limits,
    leaving: impl Future<Output = ()>,
) -> Result<(), WebError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let activity = answering.activity();
    let connection = builder(limits).serve_connection(TokioIo::new(line), answering);
    let mut connection = Box::pin(connection);
    let (mut leaving, mut silent) = (pin!(leaving), pin!(until_silent(&activity, limits)));
    let mut is_leaving = false;
    loop {
        tokio::select! {
            ended = &mut connection => return Ok(ended?),
            () = &mut leaving, if !is_leaving => {
                is_leaving = true;
                Connection::graceful_shutdown(connection.as_mut());
            }
            () = &mut silent => return Err(WebError::Silent),
        }
    }
}

fn builder(limits: &Limits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_concurrent_streams(limits.streams_max)
        .max_pending_accept_reset_streams(limits.early_resets_max)
        .max_local_error_reset_streams(limits.error_resets_max)
        .initial_connection_window_size(WINDOW_BYTES)
        .initial_stream_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX);
    builder
}

/// Returns once a client has asked for nothing, or taken nothing, for too long.
async fn until_silent(activity: &Activity, limits: &Limits) {
    loop {
        let deadline = activity.deadline(limits.header_time, limits.streams_stall_time);
        if deadline <= Instant::now() {
            return;
        }
        sleep_until(deadline).await;
    }
}
