//! What a server sends between a request and its answer.
//!
//! ```text
//! NEXT   text                              a line for the user
//! READ   number                            asks for so many bytes of the source (1.21, 1.22)
//! WRITE  bytes                             of the answer, in very old versions
//! LAST                                     the answer follows
//! ERROR  "Error" level name text 0 n {0 text}   (≥ 1.26)
//! ERROR  text status                       (< 1.26)
//! START  id level type text fields parent  an activity begins (≥ 1.20)
//! STOP   id
//! RESULT id type fields
//! fields = list of ( 0 number | 1 text )
//! ```

use std::io::{Read, Write};

use crate::progress::{Event, Field};
use crate::store::error::{Result, StoreError};
use crate::store::remote::RemoteError;
use crate::store::remote::protocol::wire::{MAX_MESSAGE, Reader, Writer};
use crate::store::remote::protocol::worker::Version;

const NEXT: u64 = 0x6f6c_6d67;
const READ: u64 = 0x6461_7461;
const WRITE: u64 = 0x6461_7416;
const LAST: u64 = 0x616c_7473;
const ERROR: u64 = 0x6378_7470;
const START: u64 = 0x5354_5254;
const STOP: u64 = 0x5354_4f50;
const RESULT: u64 = 0x5253_4c54;

/// Most fields of an activity, and most traces of an error.
const MAX_FIELDS: u64 = 1024;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A line for the user.
    Next(String),
    /// So many bytes of the source are asked for.
    Read(u64),
    /// The answer follows.
    Last,
    /// The operation failed.
    Error(String),
    /// Something of an activity.
    Event(Event),
}

impl Message {
    /// Reads one.
    ///
    /// # Errors
    /// A word that is none of those above, and those of reading.
    pub fn read<R: Read>(reader: &mut Reader<R>, version: Version) -> Result<Self> {
        let peer = || "the server".to_owned();
        Ok(match reader.number()? {
            NEXT => Self::Next(reader.text(MAX_MESSAGE)?),
            READ => Self::Read(reader.number()?),
            LAST => Self::Last,
            ERROR if version.has(26) => Self::Error(read_error(reader)?),
            ERROR => {
                let text = reader.text(MAX_MESSAGE)?;
                reader.number()?;
                Self::Error(text)
            }
            START => Self::Event(Event::Start {
                id: reader.number()?,
                level: reader.number()?,
                kind: reader.number()?,
                text: reader.text(MAX_MESSAGE)?,
                fields: read_fields(reader)?,
                parent: reader.number()?,
            }),
            STOP => Self::Event(Event::Stop(reader.number()?)),
            RESULT => Self::Event(Event::Result {
                id: reader.number()?,
                kind: reader.number()?,
                fields: read_fields(reader)?,
            }),
            WRITE => {
                let what = "it sends an answer in pieces, as no version does that is known here".to_owned();
                return Err(StoreError::Remote(RemoteError::Protocol { peer: peer(), what }));
            }
            other => {
                let what = format!("got unknown message type {other:x}");
                return Err(StoreError::Remote(RemoteError::Protocol { peer: peer(), what }));
            }
        })
    }

    /// Writes it.
    ///
    /// # Errors
    /// Errors of the writer.
    pub fn write<W: Write>(&self, writer: &mut Writer<W>, version: Version) -> Result<()> {
        match self {
            Self::Next(text) => {
                writer.number(NEXT)?;
                writer.text(text)
            }
            Self::Read(count) => {
                writer.number(READ)?;
                writer.number(*count)
            }
            Self::Last => writer.number(LAST),
            Self::Error(text) if version.has(26) => {
                writer.number(ERROR)?;
                writer.text("Error")?;
                writer.number(0)?;
                writer.text("Error")?;
                writer.text(text)?;
                writer.number(0)?;
                writer.number(0)
            }
            Self::Error(text) => {
                writer.number(ERROR)?;
                writer.text(text)?;
                writer.number(1)
            }
            // Older clients know nothing of activities.
            Self::Event(event) if version.has(20) => write_event(event, writer),
            Self::Event(_) => Ok(()),
        }
    }
}

fn write_event<W: Write>(event: &Event, writer: &mut Writer<W>) -> Result<()> {
    match event {
        Event::Start { id, level, kind, text, fields, parent } => {
            [START, *id, *level, *kind].into_iter().try_for_each(|number| writer.number(number))?;
            writer.text(text)?;
            write_fields(writer, fields)?;
            writer.number(*parent)
        }
        Event::Stop(id) => {
            writer.number(STOP)?;
            writer.number(*id)
        }
        Event::Result { id, kind, fields } => {
            [RESULT, *id, *kind].into_iter().try_for_each(|number| writer.number(number))?;
            write_fields(writer, fields)
        }
    }
}

fn read_error<R: Read>(reader: &mut Reader<R>) -> Result<String> {
    // The word "Error", how bad it is, and a name that nobody uses.
    reader.word()?;
    reader.number()?;
    reader.word()?;
    let mut text = reader.text(MAX_MESSAGE)?;
    if reader.number()? != 0 {
        return Err(position());
    }
    let traces = reader.number()?;
    if traces > MAX_FIELDS {
        return Err(crate::nar::NarError::TooLong.into());
    }
    for _ in 0..traces {
        if reader.number()? != 0 {
            return Err(position());
        }
        let trace = reader.text(MAX_MESSAGE)?;
        if text.len() + trace.len() < MAX_MESSAGE {
            text.push_str("\n       … ");
            text.push_str(&trace);
        }
    }
    Ok(text)
}

fn position() -> StoreError {
    let what = "an error has a position, which is not known here".to_owned();
    StoreError::Remote(RemoteError::Protocol { peer: "the server".to_owned(), what })
}

fn read_fields<R: Read>(reader: &mut Reader<R>) -> Result<Vec<Field>> {
    let count = reader.number()?;
    if count > MAX_FIELDS {
        return Err(crate::nar::NarError::TooLong.into());
    }
    let mut fields = Vec::new();
    for _ in 0..count {
        fields.push(match reader.number()? {
            0 => Field::Number(reader.number()?),
            1 => Field::Text(reader.text(MAX_MESSAGE)?),
            other => {
                let what = format!("got unsupported field type {other:x}");
                return Err(StoreError::Remote(RemoteError::Protocol {
                    peer: "the server".to_owned(),
                    what,
                }));
            }
        });
    }
    Ok(fields)
}

fn write_fields<W: Write>(writer: &mut Writer<W>, fields: &[Field]) -> Result<()> {
    writer.number(fields.len() as u64)?;
    for field in fields {
        match field {
            Field::Number(number) => {
                writer.number(0)?;
                writer.number(*number)?;
            }
            Field::Text(text) => {
                writer.number(1)?;
                writer.text(text)?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn messages_survive() {
        let fields = vec![Field::Number(3), Field::Text("x".to_owned())];
        let messages = [
            Message::Next("hello\n".to_owned()),
            Message::Read(12),
            Message::Error("no".to_owned()),
            Message::Event(Event::Start {
                id: 1,
                level: 3,
                kind: 100,
                text: "t".to_owned(),
                fields: fields.clone(),
                parent: 0,
            }),
            Message::Event(Event::Result { id: 1, kind: 105, fields }),
            Message::Event(Event::Stop(1)),
            Message::Last,
        ];
        for minor in [20, 26, 38] {
            let version = Version::of(1, minor);
            let mut bytes = Vec::new();
            let mut writer = Writer::new(&mut bytes);
            messages.iter().for_each(|message| message.write(&mut writer, version).unwrap());
            writer.flush().unwrap();
            drop(writer);
            let mut reader = Reader::new(&bytes[..]);
            for message in &messages {
                assert_eq!(Message::read(&mut reader, version).unwrap(), *message);
            }
        }
    }
}
