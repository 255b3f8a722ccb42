//! What the log says to people: one line for each event, with amounts as they read them.

use std::fmt::{self, Display};
use std::time::Duration;

use serde_json::Value;
use tracing::Level;

use super::event::LogEvent;
use crate::byte_count::{ByteCount, TimeTaken};
use crate::text::{Text, log};

/// Below this, a rate says more of the clock than of the network.
const RATE_TIME_MIN: f64 = 0.1;

/// An event in words.
pub(super) struct Sentence<'a>(pub(super) &'a LogEvent);

impl Display for Sentence<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = words(self.0);
        match self.0.level {
            Level::ERROR => log::error(&words).fmt(out),
            Level::WARN => log::warning(&words).fmt(out),
            _ => words.fmt(out),
        }
    }
}

fn words(event: &LogEvent) -> Text {
    let text = |name| event.text(name);
    let (peer, why) = (&*text("peer"), &log::why(&text("error")));
    match event.message.as_str() {
        "serving" => log::serving(&text("path")),
        "listening" => log::listening(&text("address"), &text("fingerprint"), &text("congestion")),
        "connected" => match text("mode").as_str() {
            "http" => log::connected_by_http(peer),
            "plain" => log::connected_in_plain_mode(peer),
            _ => log::connected(peer),
        },
        "asks" => log::asks(peer, &served_path(event)),
        "measures" => log::measures(peer),
        "complete" => {
            let files = log::files(event.count("files"));
            let words = log::has_files(peer, &served_path(event), &files, &amount(event));
            match event.count("failed") {
                0 => words,
                failed => log::with_failures(&words, failed),
            }
        }
        "sent" => log::has_file(peer, &served_path(event), &amount(event)),
        "answered" => answered(event),
        "broken off" => log::broken_off(&answered(event), why),
        "left out of an archive" => log::left_out(&served_path(event), event.count("entries")),
        "refused" => match [text("path"), text("name")].concat().as_str() {
            "" => log::refused_all(peer, why),
            name => log::refused(peer, name, why),
        },
        "left" if event.count("bytes") > 0 => log::left_with(peer, &amount(event)),
        "left" => log::left(peer),
        "lost" if event.has("bytes") => log::lost_after(peer, &amount(event), why),
        "lost" => log::lost(peer, why),
        "turned away" if event.has("error") => log::turned_away_because(peer, why),
        "turned away" => log::turned_away(peer),
        "no room for the QR code" => {
            log::no_room_for_qr_code(event.count("columns"), event.count("needed"))
        }
        "try the plain mode" => log::try_plain_mode(&text("host"), event.count("port") as u16),
        "others may read a secret" => log::exposed_secret(&text("path")),
        "few open files are allowed" => {
            log::few_descriptors(event.count("limit"), event.count("needed"))
        }
        "ending when running transfers have" => log::ending(&text("grace")),
        _ => as_it_is(event),
    }
}

/// A request of a browser and its answer.
fn answered(event: &LogEvent) -> Text {
    let request = format!("{} {}", event.text("method"), event.text("path"));
    let status = event.text("status");
    log::answered(&event.text("peer"), &request, &status, &amount(event))
}

/// The path of what is served, its root as `/`.
fn served_path(event: &LogEvent) -> String {
    match event.text("path").as_str() {
        "." => "/".to_owned(),
        path => format!("/{path}"),
    }
}

/// How much, in what time, and how fast that was.
fn amount(event: &LogEvent) -> Text {
    let seconds = event.number("seconds");
    let time = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    let bytes = ByteCount(event.count("bytes")).to_string();
    let time = TimeTaken(time).to_string();
    match event.count("rate") {
        rate if rate > 0 && seconds >= RATE_TIME_MIN => {
            log::amount_with_rate(&bytes, &time, &ByteCount(rate).to_string())
        }
        _ => log::amount(&bytes, &time),
    }
}

/// What has no words of its own: its message, its fields, and what went wrong.
fn as_it_is(event: &LogEvent) -> Text {
    let others = event.fields().iter().filter(|(name, _)| *name != "error");
    let others: Vec<_> = others
        .map(|(name, value)| match value {
            Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        })
        .collect();
    let words = log::note(&event.message);
    let words = match others.is_empty() {
        true => words,
        false => words.with_details(&others.join(", ")),
    };
    match event.has("error") {
        true => words.because(log::why(&event.text("error"))),
        false => words,
    }
}
