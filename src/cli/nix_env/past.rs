//! What earlier evaluations found out about the packages that an expression offers.

use std::cell::{Cell, RefCell};

use nival::eval::interpret::Worker;
use nival::ops::evaluate::Asked;
use nival::ops::evaluate::seen::{Present, Said, Seen};
use nival::ops::packages::describe::Question;
use nival::ops::packages::memory::names::{self, Offer};
use nival::ops::packages::memory::{Key, Memory, Remembered};
use nival::store::api::Store;

use super::Call;
use super::offers::Offers;
use crate::cli::evaluation::{Arguments, Evaluation, Stopped};

/// The directory of the files, in that of all that can be had again.
const DIRECTORY: &str = "nival-packages";

/// The evaluation of a call, and what earlier ones found.
pub struct Past<'c> {
    call: &'c Call,
    store: &'c dyn Store,
    offers: &'c Offers,
    /// What is evaluated: an attribute of the expression, or all of it.
    attribute: &'c str,
    evaluation: RefCell<Evaluation<'c>>,
    memory: Option<(Memory, Vec<u8>)>,
    /// Whether it is remembered which packages there are.
    is_known: Cell<bool>,
    /// What was told of it, or by the last run of the evaluation.
    told: RefCell<Vec<Said>>,
}

impl<'c> Past<'c> {
    /// Prepares the evaluation of `attribute` of what a call chooses from.
    ///
    /// # Errors
    /// Settings or arguments that cannot be read.
    pub fn of(
        call: &'c Call,
        store: &'c dyn Store,
        offers: &'c Offers,
        attribute: &'c str,
    ) -> anyhow::Result<Self> {
        let context = &call.context;
        let evaluation = Evaluation::new(context, &call.evaluation)?;
        let (home, _) = context.machine.home(&context.environment);
        let dir = context.environment.cache_home(home.as_deref()).filter(|_| context.settings.eval_cache());
        let memory = dir
            .zip(evaluation.identity())
            .map(|(dir, identity)| (Memory::new(dir.join(DIRECTORY), context.progress()), identity));
        let evaluation = if memory.is_some() { evaluation.noted() } else { evaluation };
        Ok(Self {
            call,
            store,
            offers,
            attribute,
            evaluation: RefCell::new(evaluation.in_parts()),
            memory,
            is_known: Cell::new(false),
            told: RefCell::default(),
        })
    }

    fn present(&self) -> Present<'_> {
        let context = &self.call.context;
        Present { environment: &context.environment, current_dir: &context.current_dir, store: self.store }
    }

    /// The memory, and the name of a question in it.
    fn asked(&self, question: &str) -> Option<(&Memory, Key)> {
        let (memory, identity) = self.memory.as_ref()?;
        let [place, system] = self.offers.identity();
        let parts = [&identity[..], &place, &system, self.attribute.as_bytes(), question.as_bytes()];
        Some((memory, Key::new(parts)))
    }

    /// Which packages there are, as far as that is remembered; what was told of it is told again.
    pub fn names(&self) -> Option<Vec<Offer>> {
        let (memory, key) = self.asked("names")?;
        let remembered = memory.look_up(&key, &self.present())?;
        let names = names::decode(&remembered).ok()?;
        self.tell(&remembered);
        self.is_known.set(true);
        *self.told.borrow_mut() = remembered.said;
        Some(names)
    }

    /// What is told of each package, as far as that is remembered. The caller has what was told told again.
    pub fn answers(&self, question: &Question, with_path: bool) -> Option<Remembered> {
        let (memory, key) = self.asked(&question_text(question, with_path))?;
        memory.look_up(&key, &self.present())
    }

    /// Tells what an evaluation told.
    pub fn tell(&self, remembered: &Remembered) {
        remembered.said.iter().for_each(|said| said.tell(&*self.call.context.ui));
    }

    /// Remembers what is told of each package.
    pub fn keep_answers(
        &self,
        question: &Question,
        with_path: bool,
        seen: Result<Seen, String>,
        answers: &[u8],
    ) {
        if let Some((memory, key)) = self.asked(&question_text(question, with_path)) {
            memory.keep(&key, seen, answers, &self.present());
        }
    }

    /// How much was told so far.
    pub fn count_told(&self) -> usize {
        self.told.borrow().len()
    }

    /// Evaluates, and remembers which packages there are if all of them were looked for. May be called again, to go on
    /// where the last evaluation was left.
    ///
    /// # Errors
    /// Whatever `work` meets.
    pub fn run(
        &self,
        read_only: bool,
        work: impl for<'e> FnOnce(&Worker<'e>, &Arguments<'e>, &Asked) -> Result<(), Stopped> + Send,
    ) -> anyhow::Result<()> {
        let mut evaluation = self.evaluation.try_borrow_mut()?;
        evaluation.set_read_only(read_only);
        let mut told = Vec::new();
        let said = &mut told;
        evaluation.run(self.told.take(), move |worker, arguments, asked| {
            let done = work(worker, arguments, asked);
            *said = asked.said();
            done
        })?;
        *self.told.borrow_mut() = told;
        let (Some(walked), false) = (self.offers.take_walked(), self.is_known.get()) else { return Ok(()) };
        if let Some((memory, key)) = self.asked("names") {
            memory.keep(&key, walked.seen, &names::encode(&walked.offers), &self.present());
        }
        Ok(())
    }
}

fn question_text(question: &Question, with_path: bool) -> String {
    format!("{question:?} {with_path}")
}
