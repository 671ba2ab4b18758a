//! Archives that come over one connection.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::model::{StoreDir, StorePath};
use crate::nar::input::Input;
use crate::nar::writer::NarWriter;
use crate::nar::{self, Sink, reader};
use crate::store::api::{Item, NarSource};
use crate::store::error::{Result, StoreError};
use crate::store::remote::client::send::{Limited, SMALL, Turns, numbers};
use crate::store::remote::client::session::{DEPTH, Link, Protocol};
use crate::store::remote::protocol::serve::command;
use crate::store::remote::protocol::worker::op;
use crate::sys::threads::locked;

/// Reads archives in the order in which they are planned to be read.
pub(in crate::store) struct Nars {
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
