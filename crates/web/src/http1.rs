//! HTTP/1 on a connection that may rest for long between two requests.

use std::future::Future;
use std::pin::{Pin as Pinned, pin};

use hyper::server::conn::http1::{Builder, Connection, Parts};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout_at;

use crate::limits::Limits;
use crate::line::Line;
use crate::service::{Answering, WebError};

/// Answers requests to the end of the connection, or from `leaving` on that which is under way.
///
/// hyper keeps 16 KiB of buffers for as long as there is a connection. So one that rests is taken
/// from it, and given to it anew once there is something to read: most connections of a server with
/// many clients rest most of the time.
pub(crate) async fn serve<S>(
    mut line: Line<S>,
    mut answering: Answering,
    limits: &Limits,
    leaving: impl Future<Output = ()>,
) -> Result<(), WebError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let builder = builder(limits);
    let activity = answering.activity();
    let mut leaving = pin!(leaving);
    loop {
        // Not in the place of what is needed while it rests.
        let mut connection = Box::new(builder.serve_connection(TokioIo::new(line), answering));
        let since = tokio::select! {
            // What has arrived meanwhile is seen before the rest is believed.
            biased;
            ended = &mut *connection => return Ok(ended?),
            () = leaving.as_mut() => {
                Pinned::new(&mut *connection).graceful_shutdown();
                return Ok(connection.await?);
            }
            since = activity.until_rest() => since,
        };
        (line, answering) = take_back(*connection);
        let deadline = since + limits.header_time;
        tokio::select! {
            read = timeout_at(deadline, line.until_readable()) => {
                read.map_err(|_| WebError::Silent)??;
            }
            () = leaving.as_mut() => return Ok(line.shutdown().await?),
        }
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_time)
        .max_headers(limits.header_fields_max)
        .max_header_size(limits.header_bytes_max)
        // Who has sent its request and closed its side still wants the answer.
        .half_close(true);
    builder
}

/// Takes a connection from hyper that rests: all answers have left, and of the next request nothing
/// has arrived, or a part that hyper has not looked at.
fn take_back<S>(connection: Connection<TokioIo<Line<S>>, Answering>) -> (Line<S>, Answering)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Parts {
        io,
        read_buf,
        service,
        ..
    } = connection.into_parts();
    let mut line = io.into_inner();
    line.put_back(read_buf);
    (line, service)
}
