//! Work on what is on no disk, for clients that measure.

use std::sync::Arc;
use std::time::Duration;

use packhorse_storage::workers::{DiskWorkers, JobLost};
use packhorse_transport::processing::Work;
use tokio::sync::Mutex;

use crate::connection::ConnectionError;
use crate::limits::MEASURED_GROUPS_AT_ONCE;
use crate::serve::Shared;

/// How long one core works on so many groups, without what they wait for.
///
/// They wait for all others who measure, so that one disk worker at most is kept from its trade.
pub(crate) async fn time_for<A: Sync>(
    shared: &Shared<A>,
    work: Work,
    groups: u64,
) -> Result<Duration, ConnectionError> {
    let mut took = Duration::ZERO;
    let mut left = groups;
    while left > 0 {
        let now = left.min(MEASURED_GROUPS_AT_ONCE);
        let time_for_now = move || work.time_for(now);
        let done = in_turn(&shared.measuring, &shared.workers, time_for_now).await;
        took += done.map_err(|_| ConnectionError::NoWorkers)?;
        left -= now;
    }
    Ok(took)
}

/// Does `work` once no other is done. Work that has begun keeps its turn to its end, though the client
/// that wanted it may have left.
async fn in_turn<T: Send + 'static>(
    turns: &Arc<Mutex<()>>,
    workers: &DiskWorkers,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, JobLost> {
    let turn = Arc::clone(turns).lock_owned().await;
    let work_in_turn = move || {
        let _turn = turn;
        work()
    };
    workers.run(work_in_turn).await
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::sync::oneshot;

    use super::*;

    /// The next began at once then, on another worker.
    #[tokio::test]
    async fn work_that_nobody_waits_for_keeps_its_turn() {
        let turns = Arc::default();
        let workers = DiskWorkers::new(2, 2).unwrap();
        let (begins, has_begun) = oneshot::channel();
        let (to_end, until_end) = mpsc::channel::<()>();
        let work = move || {
            begins.send(()).unwrap();
            until_end.recv()
        };
        tokio::select! {
            _ = in_turn(&turns, &workers, work) => panic!("it ends when it is told to"),
            begun = has_begun => begun.unwrap(),
        }
        assert!(turns.try_lock().is_err());
        drop(to_end);
        in_turn(&turns, &workers, || ()).await.unwrap();
        assert!(turns.try_lock().is_ok());
    }
}
