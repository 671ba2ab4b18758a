//! What a store on another machine tells, passed on to a thread that may be told of it.
//!
//! A store that is opened for a build holds on to whoever watches it, for as long as it likes. So
//! it tells a channel, and the thread that waits for the build empties that.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::progress::{Event, Field, Progress, result_kind};

/// Something that was told.
pub(super) enum Told {
    /// A line that a builder printed.
    Line(String),
    Notice(String),
    Warning(String),
    Problem(String),
    Detail(String),
    Event(Event),
}

struct Relay {
    say: Sender<Told>,
    verbosity: u64,
}

/// Somebody to be told, and where it comes out.
pub(super) fn relay(verbosity: u64) -> (Arc<dyn Progress>, Receiver<Told>) {
    let (say, hear) = channel();
    (Arc::new(Relay { say, verbosity }), hear)
}

impl Relay {
    fn say(&self, told: Told) {
        // Nobody waits for what is told after the end.
        let _ = self.say.send(told);
    }
}

impl Progress for Relay {
    fn notice(&self, text: &str) {
        self.say(Told::Notice(text.to_owned()));
    }

    fn warn(&self, text: &str) {
        self.say(Told::Warning(text.to_owned()));
    }

    fn problem(&self, text: &str) {
        self.say(Told::Problem(text.to_owned()));
    }

    fn detail(&self, text: &str) {
        self.say(Told::Detail(text.to_owned()));
    }

    fn verbosity(&self) -> u64 {
        self.verbosity
    }

    fn forward(&self, event: &Event) {
        self.say(match event {
            Event::Result { kind: result_kind::BUILD_LOG_LINE, fields, .. } => match fields.first() {
                Some(Field::Text(line)) => Told::Line(line.clone()),
                _ => return,
            },
            event => Told::Event(event.clone()),
        });
    }
}
