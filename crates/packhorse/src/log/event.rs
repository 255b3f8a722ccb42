//! One event of the log: what happened, and what is known of it.

use std::fmt::Debug;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::{Number, Value};
use tracing::Level;
use tracing::field::{Field, Visit};

/// What happens on a server, by the words that the crates log it with, and the name that programs
/// know it by.
const KINDS: [(&str, &str); 14] = [
    ("serving", "serving"),
    ("listening", "listening"),
    ("connected", "connected"),
    ("asks", "asks"),
    ("measures", "measures"),
    ("complete", "complete"),
    ("sent", "sent"),
    ("answered", "answered"),
    ("broken off", "broken_off"),
    ("refused", "refused"),
    ("left", "left"),
    ("lost", "lost"),
    ("turned away", "turned_away"),
    ("ended", "ended"),
];

/// An event and its fields, in the order in which they were given.
#[derive(Debug)]
pub(super) struct LogEvent {
    pub(super) level: Level,
    /// What happened, as the crates say it.
    pub(super) message: String,
    fields: Vec<(&'static str, Value)>,
}

impl LogEvent {
    /// What `event` holds.
    pub(super) fn new(event: &tracing::Event<'_>) -> Self {
        let mut logged = Self {
            level: *event.metadata().level(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut logged);
        logged
    }

    /// A field as text; empty if it is not there.
    pub(super) fn text(&self, name: &str) -> String {
        match self.field(name) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => String::new(),
        }
    }

    /// A field that is a count; 0 if it is not there.
    pub(super) fn count(&self, name: &str) -> u64 {
        self.field(name).and_then(Value::as_u64).unwrap_or(0)
    }

    /// A field that is a number; 0 if it is not there.
    pub(super) fn number(&self, name: &str) -> f64 {
        self.field(name).and_then(Value::as_f64).unwrap_or(0.0)
    }

    /// Whether there is a field of that name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.field(name).is_some()
    }

    /// All fields.
    pub(super) fn fields(&self) -> &[(&'static str, Value)] {
        &self.fields
    }

    /// The event for programs, `time` being when it happened.
    pub(super) fn json(&self, time: String) -> String {
        let line = JsonLine { event: self, time };
        serde_json::to_string(&line)
            .expect("a line has text as keys, and no number that JSON lacks")
    }

    fn level_name(&self) -> &'static str {
        match self.level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => "info",
        }
    }

    /// The name that programs know it by; `None` where it has none of its own.
    fn kind(&self) -> Option<&'static str> {
        let mut kinds = KINDS.iter();
        let known = kinds.find(|(message, _)| *message == self.message);
        let is_warning = self.level <= Level::WARN;
        known.filter(|_| !is_warning).map(|(_, kind)| *kind)
    }

    fn field(&self, name: &str) -> Option<&Value> {
        let mut fields = self.fields.iter();
        fields.find(|(field, _)| *field == name).map(|(_, v)| v)
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => self.fields.push((name, value)),
        }
    }
}

/// An event for programs: what has no name of its own is a note, which says in words what happened.
struct JsonLine<'a> {
    event: &'a LogEvent,
    time: String,
}

impl Serialize for JsonLine<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { event, time } = self;
        let kind = event.kind();
        let mut object = serializer.serialize_map(None)?;
        object.serialize_entry("event", kind.unwrap_or("note"))?;
        object.serialize_entry("time", time)?;
        if kind.is_none() {
            object.serialize_entry("level", event.level_name())?;
            object.serialize_entry("message", &event.message)?;
        }
        for (name, value) in &event.fields {
            // As the events of the other commands have it.
            let name = match *name {
                "error" => "why",
                "rate" => "bytes_per_second",
                name => name,
            };
            object.serialize_entry(name, value)?;
        }
        object.end()
    }
}

impl Visit for LogEvent {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        let number = Number::from_f64(value);
        self.add(field, number.map_or(Value::Null, Value::Number));
    }
}
