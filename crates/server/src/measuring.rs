//! Work on what is on no disk, for clients that measure.

use std::sync::Arc;
use std::time::Duration;

use packhorse_transport::processing::Work;

use crate::connection::ConnectionError;
use crate::limits::MEASURED_GROUPS_AT_ONCE;
use crate::serve::Shared;

/// How long one core works on so many groups, without what they wait for.
///
/// They wait for all others who measure, so that one disk worker at most is kept from its trade: also
/// for work whose client has left meanwhile.
pub(crate) async fn time_for<A: Sync>(
    shared: &Shared<A>,
    work: Work,
    groups: u64,
) -> Result<Duration, ConnectionError> {
    let mut took = Duration::ZERO;
    let mut left = groups;
    while left > 0 {
        let now = left.min(MEASURED_GROUPS_AT_ONCE);
        let turn = Arc::clone(&shared.measuring).lock_owned().await;
        let time_for_now = move || {
            let _turn = turn;
            work.time_for(now)
        };
        took += shared.work(time_for_now).await?;
        left -= now;
    }
    Ok(took)
}
