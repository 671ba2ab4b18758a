//! Messages of a builder: JSON in its output, in the form in which the programs of a store
//! tell each other of what they do.

use std::collections::HashMap;

use serde_json::Value;

use crate::progress::{Activity, ActivityId, ActivityKind, Event, Field, Progress, result_kind::SET_PHASE};

/// The greatest number of activities that a builder has at a time; more are passed over.
const MAX_ACTIVITIES: usize = 1024;

/// What a builder tells of what it does.
#[derive(Default)]
pub(super) struct Messages {
    /// The activities that it has begun, by its numbers.
    begun: HashMap<u64, ActivityId>,
}

impl Messages {
    /// Tells what a message means; false for what is no message.
    pub(super) fn obey(&mut self, text: &str, told: &dyn Progress, build: ActivityId) -> bool {
        let message = match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(message)) => message,
            Ok(_) => return false,
            Err(error) => {
                told.problem(&format!("bad JSON log message from the derivation builder: {error}"));
                return false;
            }
        };
        let number = |key: &str| message.get(key).and_then(Value::as_u64);
        let word = |key: &str| message.get(key).and_then(Value::as_str);
        match word("action") {
            Some("start") => {
                // Of other kinds only we can tell.
                let kind = ActivityKind::FileTransfer;
                if let (Some(id), true) = (number("id"), number("type") == Some(kind.number()))
                    && self.begun.len() < MAX_ACTIVITIES
                {
                    let fields = message.get("fields").and_then(Value::as_array);
                    let fields: Vec<&str> = fields.into_iter().flatten().filter_map(Value::as_str).collect();
                    let text = word("text").unwrap_or_default();
                    let activity = Activity { kind, text, fields: &fields, parent: build };
                    if let Some(before) = self.begun.insert(id, told.start(&activity)) {
                        told.stop(before);
                    }
                }
            }
            Some("stop") => {
                if let Some(id) = number("id").and_then(|id| self.begun.remove(&id)) {
                    told.stop(id);
                }
            }
            Some("result") => {
                let id = number("id").and_then(|id| self.begun.get(&id));
                if let (Some(id), Some(kind)) = (id, number("type")) {
                    let fields = message.get("fields").and_then(Value::as_array);
                    let fields = fields.into_iter().flatten().filter_map(field).collect();
                    told.forward(&Event::Result { id: id.0, kind, fields });
                }
            }
            Some("setPhase") => {
                if let Some(phase) = word("phase") {
                    let fields = vec![Field::Text(phase.to_owned())];
                    told.forward(&Event::Result { id: build.0, kind: SET_PHASE, fields });
                }
            }
            Some("msg") => {
                if let (Some(text), level) = (word("msg"), number("level").unwrap_or(0)) {
                    match level {
                        0 => told.problem(text),
                        level if level <= told.verbosity() => told.notice(text),
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        true
    }

    /// Ends what the builder has begun and not ended.
    pub(super) fn finish(&mut self, told: &dyn Progress) {
        for (_, id) in self.begun.drain() {
            told.stop(id);
        }
    }
}

fn field(value: &Value) -> Option<Field> {
    match value {
        Value::Number(number) => number.as_u64().map(Field::Number),
        Value::String(text) => Some(Field::Text(text.clone())),
        _ => None,
    }
}
