//! Archives on their way over one connection, several at a time.
//!
//! Threads prepare them, or work on them, side by side; over the connection they
//! go in the order of the plan, one after the other and without waiting for
//! answers.

use std::collections::HashMap;
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::model::{StoreDir, StorePath, ValidPathInfo};
use crate::nar::NarError;
use crate::nar::writer::{NarWriter, Output};
use crate::store::api::{Fill, Item, NarTaker, Receiver, Registrar, Taken};
use crate::store::error::{Result, StoreError};
use crate::store::remote::RemoteError;
use crate::store::remote::channel::connection::Outgoing;
use crate::store::remote::client::session::{Link, Protocol, peer_error};
use crate::store::remote::protocol::serve;
use crate::store::remote::protocol::serve::command;
use crate::store::remote::protocol::wire::Frames;
use crate::store::remote::protocol::worker::message::Message;
use crate::store::remote::protocol::worker::op;
use crate::sys::interrupt;
use crate::sys::threads::{self, locked};

/// Archives up to this size are held in memory, so that several threads can
/// work on them.
pub(in crate::store) const SMALL: u64 = 256 * 1024;
/// How often threads that wait look for a signal.
const LOOK: Duration = Duration::from_millis(100);

/// Lets threads pass in the order of their numbers.
#[derive(Default)]
pub(in crate::store) struct Turns {
    state: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Default)]
struct Turn {
    next: usize,
    over: bool,
}

impl Turns {
    /// Waits until it is the turn of `number`.
    pub fn wait(&self, number: usize) -> Result<()> {
        let mut state = locked(&self.state);
        while state.next != number && !state.over {
            interrupt::check()?;
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
        match state.over {
            true => Err(StoreError::Overtaken),
            false => Ok(()),
        }
    }

    /// Lets the next pass.
    pub fn pass(&self) {
        locked(&self.state).next += 1;
        self.changed.notify_all();
    }

    /// Lets nobody pass any more.
    pub fn end(&self) {
        locked(&self.state).over = true;
        self.changed.notify_all();
    }
}

/// The numbers of the paths of a plan.
pub(in crate::store) fn numbers(items: &[Item]) -> HashMap<StorePath, usize> {
    items.iter().enumerate().map(|(number, item)| (item.info.path.clone(), number)).collect()
}

/// How archives are sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// All of them as one stream.
    Stream,
    /// Each as a request of its own, in frames or as it is.
    Each { framed: bool },
    /// Each when and as the server asks for it.
    Asked,
}

/// Sends archives in the order of the plan.
pub(in crate::store) struct Sender {
    link: Arc<Link>,
    dir: StoreDir,
    numbers: HashMap<StorePath, usize>,
    turns: Turns,
    manner: Manner,
    check_signatures: bool,
    frames: Mutex<Frames>,
    sent: AtomicUsize,
    answers: Mutex<Option<JoinHandle<()>>>,
    /// What became of the answers, once it is known.
    outcome: Arc<Mutex<Option<Result<()>>>>,
}

impl Sender {
    /// Begins to send; gives what the engine needs.
    pub fn begin(
        link: Arc<Link>,
        dir: StoreDir,
        items: &[Item],
        check_signatures: bool,
    ) -> Result<Receiver<'static>> {
        let manner = match link.protocol {
            Protocol::Worker(version) if version.has(32) => Manner::Stream,
            Protocol::Worker(version) if version.has(23) => Manner::Each { framed: true },
            Protocol::Worker(version) if version.has(21) => Manner::Asked,
            _ => Manner::Each { framed: false },
        };
        let sender = Self {
            link,
            dir,
            numbers: numbers(items),
            turns: Turns::default(),
            manner,
            check_signatures,
            frames: Mutex::default(),
            sent: AtomicUsize::new(0),
            answers: Mutex::default(),
            outcome: Arc::default(),
        };
        if manner == Manner::Stream {
            let mut writer = locked(&sender.link.writer);
            writer.number(op::ADD_MULTIPLE_TO_STORE)?;
            // Nothing is repaired.
            writer.number(0)?;
            writer.boolean(!check_signatures)?;
            let mut frames = locked(&sender.frames);
            let mut on = frames.on(&mut writer);
            let mut count = on.as_writer();
            count.number(items.len() as u64)?;
            count.flush()?;
        }
        let expected = if manner == Manner::Stream { 1 } else { items.len() };
        if manner != Manner::Asked {
            sender.listen(expected)?;
        }
        let sender = Arc::new(sender);
        Ok(Receiver {
            taker: Box::new(Taker(Arc::clone(&sender))),
            registrar: Box::new(Ending { sender, items: items.len() }),
            parallel: threads::cores() * 2,
            publishes: true,
        })
    }

    /// Takes the answers as they come: a server that cannot get rid of what it
    /// has to say takes nothing more either.
    fn listen(&self, expected: usize) -> Result<()> {
        let (link, outcome) = (Arc::clone(&self.link), Arc::clone(&self.outcome));
        let listen = move || {
            let mut reader = locked(&link.reader);
            let mut take = || {
                for _ in 0..expected {
                    link.messages(&mut reader)?;
                    if matches!(link.protocol, Protocol::Serve(_)) && reader.number()? != 1 {
                        return Err(RemoteError::Peer("a path could not be added".to_owned()).into());
                    }
                }
                Ok(())
            };
            let result = take().map_err(|error| link.failed(error));
            *locked(&outcome) = Some(result);
        };
        let thread = std::thread::Builder::new().spawn(interrupt::inherited(listen));
        let thread = thread.map_err(StoreError::NoThread)?;
        *locked(&self.answers) = Some(thread);
        Ok(())
    }

    /// The failure that the server told of.
    fn refusal(&self) -> Option<StoreError> {
        let mut outcome = locked(&self.outcome);
        match outcome.take() {
            Some(Err(error)) => Some(error),
            other => {
                *outcome = other;
                None
            }
        }
    }

    fn send(&self, item: &Item, small: Option<&[u8]>, fill: Fill<'_>) -> Result<()> {
        let mut writer = locked(&self.link.writer);
        // That it was made here says nothing over there.
        let info = &ValidPathInfo { ultimate: false, ..item.info.clone() };
        match self.manner {
            Manner::Stream => {
                let mut frames = locked(&self.frames);
                let mut on = frames.on(&mut writer);
                let mut stream = on.as_writer();
                stream.path(&self.dir, &info.path)?;
                stream.info(&self.dir, info)?;
                put(&mut stream, small, fill)?;
                stream.flush()
            }
            Manner::Each { framed } => {
                self.announce(&mut writer, info)?;
                if framed {
                    let mut frames = Frames::default();
                    let mut on = frames.on(&mut writer);
                    let mut stream = on.as_writer();
                    put(&mut stream, small, fill)?;
                    stream.flush()?;
                    drop(stream);
                    on.finish()?;
                } else {
                    put(&mut *writer, small, fill)?;
                }
                // Small ones go together.
                if small.is_some() { Ok(()) } else { writer.flush() }
            }
            Manner::Asked => self.send_when_asked(&mut writer, info, small, fill),
        }
    }

    fn announce(&self, writer: &mut Outgoing, info: &ValidPathInfo) -> Result<()> {
        if let Protocol::Serve(_) = self.link.protocol {
            writer.number(command::ADD_TO_STORE_NAR)?;
            return serve::write_added(writer, &self.dir, info);
        }
        writer.number(op::ADD_TO_STORE_NAR)?;
        writer.path(&self.dir, &info.path)?;
        writer.info(&self.dir, info)?;
        writer.number(0)?;
        writer.boolean(!self.check_signatures)
    }

    /// The archive waits in a file for what the server asks of it.
    fn send_when_asked(
        &self,
        writer: &mut Outgoing,
        info: &ValidPathInfo,
        small: Option<&[u8]>,
        fill: Fill<'_>,
    ) -> Result<()> {
        let failed = |error| StoreError::Nar(NarError::Write(error));
        let mut file = tempfile::tempfile().map_err(failed)?;
        let mut spool = crate::nar::writer::FileOutput::new(&file);
        match small {
            Some(nar) => spool.write(nar)?,
            None => fill(&mut NarWriter::new(&mut spool)?)?,
        }
        spool.flush()?;
        drop(spool);
        file.rewind().map_err(failed)?;
        self.announce(writer, info)?;
        writer.flush()?;
        let mut reader = locked(&self.link.reader);
        loop {
            match Message::read(&mut reader, self.link.version())? {
                Message::Last => return Ok(()),
                Message::Error(text) => return Err(peer_error(&text)),
                Message::Read(count) => {
                    let count = usize::try_from(count).unwrap_or(usize::MAX).min(64 * 1024);
                    let mut piece = vec![0; count];
                    let count = file.read(&mut piece).map_err(failed)?;
                    writer.bytes(&piece[..count])?;
                    writer.flush()?;
                }
                other => self.link.tell(other)?,
            }
        }
    }

    fn finish(&self, items: usize) -> Result<()> {
        if self.sent.load(Ordering::Relaxed) < items {
            // What was begun cannot be ended in another way.
            self.link.hang_up();
            self.wait_for_end();
            return Ok(());
        }
        let flushed = || {
            let mut writer = locked(&self.link.writer);
            if self.manner == Manner::Stream {
                locked(&self.frames).on(&mut writer).finish()?;
            }
            writer.flush()
        };
        let flushed = flushed();
        if let Some(answers) = locked(&self.answers).take()
            && (flushed.is_ok() || !interrupt::requested())
        {
            // It does not panic; and if it did, there would be no outcome.
            let _ = answers.join();
        }
        match locked(&self.outcome).take() {
            Some(outcome) => outcome,
            None => flushed.map_err(|error| self.link.failed(error)),
        }
    }
}

/// An archive, as it is or as it is made.
fn put<W: std::io::Write>(
    stream: &mut crate::store::remote::protocol::wire::Writer<W>,
    small: Option<&[u8]>,
    fill: Fill<'_>,
) -> Result<()> {
    match small {
        Some(nar) => stream.raw(nar),
        None => Ok(fill(&mut NarWriter::new(stream)?)?),
    }
}

struct Taker(Arc<Sender>);

impl NarTaker for Taker {
    fn take(&self, item: &Item, fill: Fill<'_>) -> Result<Taken> {
        let sender = &*self.0;
        let Some(number) = sender.numbers.get(&item.info.path).copied() else {
            return Err(StoreError::Missing(sender.dir.print(&item.info.path)));
        };
        let mut take = || {
            let mut small = None;
            if item.info.nar_size <= SMALL && item.info.nar_size > 0 {
                let mut nar = Limited::new();
                fill(&mut NarWriter::new(&mut nar)?)?;
                small = Some(nar.nar);
            }
            sender.turns.wait(number)?;
            sender.send(item, small.as_deref(), fill)?;
            sender.sent.fetch_add(1, Ordering::Relaxed);
            match sender.refusal() {
                Some(refusal) => Err(refusal),
                None => {
                    sender.turns.pass();
                    Ok(())
                }
            }
        };
        take().map(|()| Taken::done()).map_err(|error| {
            sender.turns.end();
            // What the server said tells more than that it hung up.
            let refusal = match &error {
                StoreError::Nar(NarError::Write(_)) => sender.wait_for_refusal(),
                _ => sender.refusal(),
            };
            sender.link.give_up();
            refusal.unwrap_or_else(|| sender.link.failed(error))
        })
    }

    fn publish(&self, _taken: Taken) -> Result<()> {
        Ok(())
    }
}

impl Sender {
    /// After hanging up, lets the other side end for a moment: the connection is
    /// closed with the last who uses it.
    fn wait_for_end(&self) {
        const PATIENCE: Duration = Duration::from_secs(1);
        let Some(answers) = locked(&self.answers).take() else { return };
        let begun = std::time::Instant::now();
        while !answers.is_finished() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The connection is broken: the reason may still be on its way.
    fn wait_for_refusal(&self) -> Option<StoreError> {
        if let Some(answers) = locked(&self.answers).take() {
            let _ = answers.join();
        }
        self.refusal()
    }
}

/// A tree that grew since it was measured is not held in memory.
pub(in crate::store) struct Limited {
    pub nar: Vec<u8>,
}

impl Limited {
    pub fn new() -> Self {
        Self { nar: Vec::new() }
    }
}

impl Output for Limited {
    fn write(&mut self, data: &[u8]) -> std::result::Result<(), NarError> {
        if self.nar.len() + data.len() > SMALL as usize {
            return Err(NarError::bad("it is larger than what is registered"));
        }
        self.nar.write_all(data).map_err(NarError::Write)
    }

    fn contents(&mut self, contents: &mut dyn crate::nar::Contents) -> std::result::Result<(), NarError> {
        let mut buffer = [0; 16 * 1024];
        while contents.remaining() > 0 {
            let count = contents.read(&mut buffer)?;
            self.write(&buffer[..count])?;
        }
        Ok(())
    }
}

struct Ending {
    sender: Arc<Sender>,
    items: usize,
}

impl Registrar for Ending {
    fn register(&mut self, _taken: Taken) -> Result<()> {
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.sender.finish(self.items)
    }

    fn keeps(&self) -> bool {
        // The other end has not said so.
        false
    }
}
