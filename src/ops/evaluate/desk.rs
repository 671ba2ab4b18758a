//! The thread that has the store: it answers what an evaluation asks, and writes what the evaluation
//! adds, in the order in which that was added and many things at once.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};

use crate::eval::error::Error;
use crate::model::derivation::DerivationFile;
use crate::model::{ContentAddressMethod, HashAlgorithm, StorePath};
use crate::nar::input::Input;
use crate::nar::{NarError, Sink, reader};
use crate::store::StoreError;
use crate::store::api::Store;
use crate::store::api::add::Adder;

use super::Backing;
use super::add::{Source, of_store};
use super::world::lock;

/// Additions that are looked up and written together.
const TOGETHER: usize = 512;
/// Bytes of additions that may wait to be written.
const MOST_WAITING: usize = 64 << 20;

/// Something to be added, whose path is known.
pub enum Addition {
    /// A derivation.
    Derivation(DerivationFile),
    /// Contents.
    Content {
        /// The path that they have.
        path: StorePath,
        /// How the path follows from them; the algorithm is SHA-256.
        method: ContentAddressMethod,
        /// What they refer to.
        references: BTreeSet<StorePath>,
        /// Where they are.
        from: Contents,
    },
}

/// Where contents to be added are.
pub enum Contents {
    /// The text of a file.
    Text(Vec<u8>),
    /// An archive in memory.
    Archive(Vec<u8>),
    /// Files that are read again.
    Files(Source),
}

impl Addition {
    fn path(&self) -> &StorePath {
        match self {
            Addition::Derivation(file) => &file.path,
            Addition::Content { path, .. } => path,
        }
    }

    /// Bytes in memory.
    fn len(&self) -> usize {
        match self {
            Addition::Derivation(file) => file.text.len(),
            Addition::Content { from: Contents::Text(bytes) | Contents::Archive(bytes), .. } => bytes.len(),
            Addition::Content { from: Contents::Files(_), .. } => 0,
        }
    }
}

impl Contents {
    fn tell(&self, sink: &mut dyn Sink) -> Result<(), NarError> {
        match self {
            Contents::Text(text) => sink.regular(false, &mut &text[..]),
            Contents::Archive(archive) => reader::read(&mut Input::new(&archive[..]), sink),
            Contents::Files(source) => source.tell(sink),
        }
    }
}

/// A question to the thread that has the store.
type Question = Box<dyn FnOnce(&mut Desk<'_>) + Send>;

enum Order {
    Add(Addition),
    Ask(Question),
}

/// What both sides know.
#[derive(Default)]
struct Shared {
    /// Bytes of additions that were sent and are not taken yet.
    waiting: AtomicUsize,
    /// Whether an addition failed.
    failed: AtomicBool,
}

/// Sends to the thread that has the store.
pub struct Mail {
    orders: Sender<Order>,
    shared: Arc<Shared>,
    /// Whether there is an addition that may not be in the store yet.
    unsettled: Mutex<bool>,
}

impl Mail {
    /// Both ends.
    pub fn new() -> (Mail, Inbox) {
        let (orders, incoming) = mpsc::channel();
        let shared = Arc::<Shared>::default();
        let mail = Mail { orders, shared: Arc::clone(&shared), unsettled: Mutex::new(false) };
        (mail, Inbox { incoming, shared })
    }

    /// Has something done with the store, and waits for it.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Desk<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answering, answer) = mpsc::channel();
        let question: Question = Box::new(move |desk| {
            // The evaluation is over if nobody waits for the answer.
            let _ = answering.send(work(desk));
        });
        self.orders.send(Order::Ask(question)).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }

    /// Has something added; whether that worked is known after [`Mail::settle`].
    ///
    /// # Errors
    /// An earlier addition failed.
    pub fn add(&self, addition: Addition) -> Result<(), Error> {
        let bytes = addition.len();
        let waiting = self.shared.waiting.fetch_add(bytes, Ordering::Relaxed) + bytes;
        *lock(&self.unsettled) = true;
        self.orders.send(Order::Add(addition)).map_err(|_| gone())?;
        if self.shared.failed.load(Ordering::Relaxed) {
            return self.settle();
        }
        // The evaluation is not to be ahead of the store by any amount of memory.
        if waiting > MOST_WAITING { self.ask(|_| Ok(())) } else { Ok(()) }
    }

    /// Has everything in the store that was added so far.
    ///
    /// # Errors
    /// The store does not take it.
    pub fn settle(&self) -> Result<(), Error> {
        // Another thread of the evaluation that asks for the same waits until it is done.
        let mut unsettled = lock(&self.unsettled);
        if *unsettled {
            self.ask(|desk| desk.settle())?;
            *unsettled = false;
        }
        Ok(())
    }
}

fn gone() -> Error {
    Error::new("the store is not there any more")
}

/// What was sent to the thread that has the store.
pub struct Inbox {
    incoming: Receiver<Order>,
    shared: Arc<Shared>,
}

impl Inbox {
    /// Does what comes in until nobody sends any more.
    pub fn serve(self, backing: &dyn Backing) {
        let mut desk = Desk { backing, adder: None, waiting: Vec::new(), bytes: 0, failed: None };
        for order in self.incoming {
            match order {
                Order::Ask(question) => question(&mut desk),
                Order::Add(addition) => {
                    self.shared.waiting.fetch_sub(addition.len(), Ordering::Relaxed);
                    desk.take(addition);
                    if desk.failed.is_some() {
                        self.shared.failed.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

/// What the thread with the store works with.
pub struct Desk<'b> {
    /// The store, and what makes paths valid in it.
    pub backing: &'b dyn Backing,
    adder: Option<Box<dyn Adder + 'b>>,
    /// Additions that were not looked up yet.
    waiting: Vec<Addition>,
    bytes: usize,
    failed: Option<Error>,
}

impl<'b> Desk<'b> {
    fn take(&mut self, addition: Addition) {
        if self.failed.is_some() {
            return;
        }
        self.bytes += addition.len();
        self.waiting.push(addition);
        if (self.waiting.len() >= TOGETHER || self.bytes >= MOST_WAITING / 4)
            && let Err(error) = self.write()
        {
            self.failed = Some(error);
        }
    }

    /// Has everything in the store that was added.
    fn settle(&mut self) -> Result<(), Error> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let done = self.write().and_then(|()| match self.adder.take() {
            Some(adder) => adder.finish().map_err(of_store),
            None => Ok(()),
        });
        if let Err(error) = &done {
            self.failed = Some(error.clone());
        }
        done
    }

    /// Hands to the store what it does not have.
    fn write(&mut self) -> Result<(), Error> {
        let waiting = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        if waiting.is_empty() {
            return Ok(());
        }
        let store: &'b dyn Store = self.backing.store()?;
        let paths: Vec<StorePath> = waiting.iter().map(|addition| addition.path().clone()).collect();
        let valid = store.valid(&paths).map_err(of_store)?;
        let missing = waiting.into_iter().filter(|addition| !valid.contains(addition.path()));
        let mut derivations = Vec::new();
        for addition in missing {
            match addition {
                Addition::Derivation(file) => derivations.push(file),
                Addition::Content { path, method, references, from } => {
                    let kind = (method, HashAlgorithm::Sha256);
                    let adder = self.adder.get_or_insert_with(|| store.adder());
                    // A text can refer to a derivation, which has to be there first.
                    if !references.is_empty() && !derivations.is_empty() {
                        adder.add_derivations(std::mem::take(&mut derivations)).map_err(of_store)?;
                    }
                    let tell = &mut |sink: &mut dyn Sink| from.tell(sink);
                    let added = adder.add_content(path.name(), kind, references, tell).map_err(of_store)?;
                    if added != path {
                        let path = store.dir().print(&path);
                        return Err(Error::new(format!("files changed while they were added as '{path}'")));
                    }
                }
            }
        }
        if !derivations.is_empty() {
            let adder = self.adder.get_or_insert_with(|| store.adder());
            adder.add_derivations(derivations).map_err(of_store)?;
        }
        Ok(())
    }
}

/// The failure of looking for one path.
pub fn is_valid(store: &dyn Store, path: &StorePath) -> Result<bool, StoreError> {
    store.add_temp_roots(&[path])?;
    store.is_valid(path)
}
