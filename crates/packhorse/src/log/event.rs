//! One event of the log: what happened, and what is known of it.

use std::fmt::Debug;

use serde_json::{Map, Number, Value};
use tracing::Level;
use tracing::field::{Field, Visit};

/// What happens on a server, by the words that the crates log it with, and the name that programs
/// know it by.
const KINDS: [(&str, &str); 13] = [
    ("serving", "serving"),
    ("listening", "listening"),
    ("connected", "connected"),
    ("asks", "asks"),
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

    /// The event for programs: what has no name of its own is a note, which says in words what
    /// happened.
    pub(super) fn json(&self, time: String) -> Value {
        let known = KINDS.iter().find(|(message, _)| *message == self.message);
        let is_warning = self.level <= Level::WARN;
        let kind = match known {
            Some((_, kind)) if !is_warning => kind,
            _ => &"note",
        };
        let mut object = Map::new();
        object.insert("event".into(), (*kind).into());
        object.insert("time".into(), time.into());
        if *kind == "note" {
            object.insert("level".into(), self.level_name().into());
            object.insert("message".into(), self.message.clone().into());
        }
        for (name, value) in &self.fields {
            // As the events of the other commands have it.
            let name = match *name {
                "error" => "why",
                "rate" => "bytes_per_second",
                name => name,
            };
            object.insert(name.into(), value.clone());
        }
        Value::Object(object)
    }

    fn level_name(&self) -> &'static str {
        match self.level {
            Level::ERROR => "error",
            Level::WARN => "warning",
            _ => "info",
        }
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
