//! Archives on their way over one connection, several at a time.
//!
//! Threads prepare them, or work on them, side by side; over the connection they
//! go in the order of the plan, one after the other and without waiting for
//! answers.

use std::collections::HashMap;
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::RemoteError;
use super::connection::Outgoing;
use super::link::{DEPTH, Link, Protocol, peer_error};
use super::serve::{self, command};
use super::wire::Frames;
use super::worker::message::Message;
use super::worker::op;
use crate::model::{StoreDir, StorePath, ValidPathInfo};
use crate::nar::input::Input;
use crate::nar::writer::{NarWriter, Output};
use crate::nar::{self, NarError, Sink, reader};
use crate::store::error::{Result, StoreError};
use crate::store::transfer::{Fill, Item, NarSource, NarTaker, Receiver, Registrar, Taken};
use crate::sys::interrupt;
use crate::sys::threads::{self, locked};

/// Archives up to this size are held in memory, so that several threads can
/// work on them.
const SMALL: u64 = 256 * 1024;
/// How often threads that wait look for a signal.
const LOOK: Duration = Duration::from_millis(100);

/// Lets threads pass in the order of their numbers.
#[derive(Default)]
struct Turns {
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
    fn wait(&self, number: usize) -> Result<()> {
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
    fn pass(&self) {
        locked(&self.state).next += 1;
        self.changed.notify_all();
    }

    /// Lets nobody pass any more.
    fn end(&self) {
        locked(&self.state).over = true;
        self.changed.notify_all();
    }
}

/// The numbers of the paths of a plan.
fn numbers(items: &[Item]) -> HashMap<StorePath, usize> {
    items.iter().enumerate().map(|(number, item)| (item.info.path.clone(), number)).collect()
}

/// Reads archives in the order in which they are planned to be read.
pub(super) struct Nars {
    link: Arc<Link>,
    dir: StoreDir,
    paths: Vec<StorePath>,
    numbers: HashMap<StorePath, usize>,
    turns: Turns,
    /// Those before this one were asked for, or are not wanted.
    asked: AtomicUsize,
    /// Those before this one were read, or are not wanted.
    read: AtomicUsize,
    /// Those that were read, for each number.
    seen: Vec<AtomicBool>,
}

impl Nars {
    pub fn new(link: Arc<Link>, dir: StoreDir, items: &[Item]) -> Self {
        Self {
            link,
            dir,
            paths: items.iter().map(|item| item.info.path.clone()).collect(),
            numbers: numbers(items),
            turns: Turns::default(),
            asked: AtomicUsize::new(0),
            read: AtomicUsize::new(0),
            seen: items.iter().map(|_| AtomicBool::new(false)).collect(),
        }
    }

    /// Asks for archives ahead.
    fn ask(&self, number: usize) -> Result<()> {
        let mut asked = self.asked.load(Ordering::Relaxed);
        if asked - number > DEPTH / 2 {
            return Ok(());
        }
        let mut writer = locked(&self.link.writer);
        let operation = match self.link.protocol {
            Protocol::Worker(_) => op::NAR_FROM_PATH,
            Protocol::Serve(_) => command::DUMP_STORE_PATH,
        };
        while asked < self.paths.len() && asked - number < DEPTH {
            writer.number(operation)?;
            writer.path(&self.dir, &self.paths[asked])?;
            asked += 1;
        }
        self.asked.store(asked, Ordering::Relaxed);
        writer.flush()
    }

    /// Takes the next archive from the connection: a small one into memory.
    fn next(&self, number: usize, size: u64, sink: &mut dyn Sink) -> Result<Option<Vec<u8>>> {
        self.ask(number)?;
        let mut reader = locked(&self.link.reader);
        self.link.messages(&mut reader)?;
        if let Protocol::Worker(_) = self.link.protocol
            && reader.input.peek_number()? != nar::MAGIC.len() as u64
        {
            // A server that finds out too late that it has no such path says so
            // in place of the archive.
            self.link.messages(&mut reader)?;
        }
        // Old databases do not know the size.
        reader.input.limit(if size == 0 { u64::MAX } else { size });
        if size == 0 || size > SMALL {
            reader::read(&mut reader.input, sink)?;
            reader.input.limit(u64::MAX);
            return Ok(None);
        }
        // Read to the end that it has, which need not be the announced one.
        let mut nar = Limited::new();
        reader::read(&mut reader.input, &mut NarWriter::new(&mut nar)?)?;
        reader.input.limit(u64::MAX);
        Ok(Some(nar.nar))
    }

    /// Has the turn of a number.
    fn turn<T>(&self, number: usize, work: impl FnOnce() -> Result<T>) -> Result<T> {
        self.turns.wait(number)?;
        match work() {
            Ok(found) => {
                self.read.store(number + 1, Ordering::Relaxed);
                self.seen[number].store(true, Ordering::Relaxed);
                self.turns.pass();
                Ok(found)
            }
            Err(error) => {
                self.end();
                Err(self.link.failed(error))
            }
        }
    }

    /// Nothing more is read.
    fn end(&self) {
        self.turns.end();
        self.link.give_up();
    }
}

impl NarSource for Nars {
    fn read(&self, item: &Item, sink: &mut dyn Sink) -> Result<()> {
        let Some(number) = self.numbers.get(&item.info.path).copied() else {
            return Err(StoreError::Missing(self.dir.print(&item.info.path)));
        };
        let Some(nar) = self.turn(number, || self.next(number, item.info.nar_size, sink))? else {
            return Ok(());
        };
        Ok(reader::read(&mut Input::new(&nar[..]), sink)?)
    }

    fn done(&self, item: &Item, well: bool) -> Result<()> {
        let Some(number) = self.numbers.get(&item.info.path).copied() else { return Ok(()) };
        if !well {
            // Others wait for their turns, which may not come any more.
            self.end();
            return Ok(());
        }
        if self.seen[number].load(Ordering::Relaxed) {
            return Ok(());
        }
        self.turn(number, || {
            if self.asked.load(Ordering::Relaxed) <= number {
                self.asked.store(number + 1, Ordering::Relaxed);
                return Ok(());
            }
            self.next(number, 0, &mut nar::Discard).map(drop)
        })
    }
}

impl Drop for Nars {
    fn drop(&mut self) {
        // Archives that nobody took would be taken for answers.
        if self.asked.load(Ordering::Relaxed) > self.read.load(Ordering::Relaxed) {
            self.link.hang_up();
        }
    }
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
pub(super) struct Sender {
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
        let thread = std::thread::Builder::new().spawn(listen);
        let thread =
            thread.map_err(|error| StoreError::Input(format!("no thread can be started: {error}")))?;
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
        let info = &item.info;
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
    stream: &mut super::wire::Writer<W>,
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
        take().map(|()| Taken::Sent).map_err(|error| {
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
struct Limited {
    nar: Vec<u8>,
}

impl Limited {
    fn new() -> Self {
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
}
