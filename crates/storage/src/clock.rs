//! The one place where storage reads the machine's clock.

use std::time::{SystemTime, UNIX_EPOCH};

use packhorse_protocol::entry::Timestamp;

/// The time of day; the epoch itself on a machine whose clock stands before it.
#[must_use]
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    Timestamp::new(seconds, since.subsec_nanos()).expect("a duration has whole seconds apart")
}
