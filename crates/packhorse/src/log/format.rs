//! How an event becomes a line.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::event::LogEvent;
use super::sentence::Sentence;
use crate::flags::LogFormat;

/// Lines for people, or for programs.
#[derive(Debug)]
pub(super) struct LineFormat(pub(super) LogFormat);

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let event = LogEvent::new(event);
        let now = jiff::Timestamp::now();
        match self.0 {
            LogFormat::Text => {
                let now = now.to_zoned(jiff::tz::TimeZone::system());
                let time = now.strftime("%Y-%m-%d %H:%M:%S");
                writeln!(out, "{time} {}", Sentence(&event))
            }
            LogFormat::Json => writeln!(out, "{}", event.json(format!("{now:.6}"))),
        }
    }
}
