//! How bytes leave: no faster than they may, and for nobody who does not take them.

use packhorse_transport::throttle::Throttle;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use crate::connection::ConnectionError;
use crate::serve::Shared;

/// Sends `bytes` to one client; one that takes nothing of them for too long is left. What fits into
/// [`Throttle::CHUNK_BYTES`] is offered to the stream as a whole.
pub(crate) async fn send<A: Sync>(
    shared: &Shared<A>,
    writer: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
) -> Result<(), ConnectionError> {
    let stall_time = shared.settings.limits.stall_time;
    let mut rest = bytes;
    while !rest.is_empty() {
        let mut chunk = rest;
        if let Some(throttle) = &shared.throttle {
            chunk = &rest[..rest.len().min(Throttle::CHUNK_BYTES)];
            throttle.pass(chunk.len()).await;
        }
        let written = timeout(stall_time, writer.write(chunk)).await;
        let written = written.map_err(|_| ConnectionError::Stalled(stall_time))??;
        if written == 0 {
            return Err(std::io::Error::from(std::io::ErrorKind::WriteZero).into());
        }
        shared.handle_sent(written);
        rest = &rest[written..];
    }
    timeout(stall_time, writer.flush())
        .await
        .map_err(|_| ConnectionError::Stalled(stall_time))??;
    Ok(())
}
