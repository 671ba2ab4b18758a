//! The graph of what has to be built: derivations, and which of them need outputs of which others.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::model::derived_path::{DerivedPath, Outputs};
use crate::model::{Derivation, StorePath};
use crate::ops::realise::context::{no_output, output_paths};
use crate::store::api::Store as _;
use crate::store::api::realise::RealiseMode;
use crate::store::error::{FailureKinds, Result, StoreError};
use crate::store::local::LocalStore;
use crate::sys::interrupt;
use crate::sys::lock::PathLock;

/// The place of a goal in a graph.
pub(super) type Node = usize;

/// How far a goal is.
#[derive(Debug)]
pub(super) enum State {
    /// It waits for others, or for its turn.
    Waiting,
    /// It is being built.
    Running,
    /// Its outputs are valid.
    Done,
    /// It came to nothing, and why.
    Failed(StoreError),
    /// It was given up, because another failed.
    Cancelled,
}

/// A derivation that has to be built.
pub(super) struct Goal {
    pub path: StorePath,
    pub drv: Arc<Derivation>,
    /// The names of the outputs that are needed.
    pub wanted: BTreeSet<String>,
    /// Somebody asked for it, and not only another goal.
    pub is_asked_for: bool,
    pub needs: Vec<Node>,
    pub needed_by: Vec<Node>,
    /// How many of its needs have not ended.
    pub open: usize,
    /// How many of its needs have failed, and how.
    pub failed: usize,
    pub kinds: FailureKinds,
    /// Goals in the longest chain of those that need it.
    pub above: usize,
    pub state: State,
    /// The locks of its outputs, by name, while it is being built.
    pub locks: BTreeMap<String, PathLock>,
    /// It was told that somebody else is in the way.
    pub told_of_waiting: Cell<bool>,
    /// Whether it is built although its outputs are there.
    pub mode: RealiseMode,
    /// Outputs that are to be replaced.
    pub damaged: BTreeSet<StorePath>,
}

/// All goals of some requests.
#[derive(Default)]
pub(super) struct Graph {
    pub goals: Vec<Goal>,
    by_path: HashMap<StorePath, Node>,
    /// Requests that are goals, or why they cannot be.
    requests: HashMap<DerivedPath, std::result::Result<Node, StoreError>>,
}

/// A derivation of which outputs are needed.
struct Need {
    path: StorePath,
    outputs: Outputs,
    by: Option<Node>,
}

impl Graph {
    /// The goals that fulfil requests for outputs of derivations. Those of them that
    /// are fulfilled have none.
    pub fn of(store: &LocalStore, requests: &[DerivedPath]) -> Result<Self> {
        Self::again(store, requests, RealiseMode::Normal)
    }

    /// The goals that fulfil requests in another way: what was asked for is built although it is there.
    pub fn again(store: &LocalStore, requests: &[DerivedPath], mode: RealiseMode) -> Result<Self> {
        let mut graph = Self::default();
        for request in requests {
            let Some(outputs) = &request.outputs else { continue };
            if graph.requests.contains_key(request) {
                continue;
            }
            match graph.require(store, &request.path, outputs, mode) {
                Ok(None) => {}
                Ok(Some(node)) => {
                    graph.goals[node].is_asked_for = true;
                    graph.requests.insert(request.clone(), Ok(node));
                }
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => drop(graph.requests.insert(request.clone(), Err(error))),
            }
        }
        graph.measure();
        Ok(graph)
    }

    /// What has become of a request: nothing, if it was no goal. An error is given to the first who asks
    /// for it.
    pub fn outcome(&mut self, request: &DerivedPath) -> Option<State> {
        let node = match self.requests.get(request)? {
            Ok(node) => *node,
            Err(_) => return self.requests.remove(request)?.err().map(State::Failed),
        };
        let state = &mut self.goals[node].state;
        Some(match state {
            State::Done => State::Done,
            _ => std::mem::replace(state, State::Cancelled),
        })
    }

    /// Adds a derivation with everything that it needs.
    fn require(
        &mut self,
        store: &LocalStore,
        path: &StorePath,
        outputs: &Outputs,
        mode: RealiseMode,
    ) -> Result<Option<Node>> {
        let first = Need { path: path.clone(), outputs: outputs.clone(), by: None };
        let (mut needs, mut top) = (vec![first], None);
        while let Some(Need { path, outputs, by }) = needs.pop() {
            interrupt::check()?;
            let node = match self.by_path.get(&path) {
                Some(node) => {
                    let drv = &self.goals[*node].drv;
                    match outputs.missing(drv) {
                        Some(name) if by.is_none() => return Err(no_output(store.dir(), &path, name)),
                        _ => *node,
                    }
                }
                None => {
                    match self.look(store, &path, &outputs, by.is_none() && mode != RealiseMode::Normal) {
                        Ok(Some(drv)) => self.add(path, drv, &mut needs),
                        Ok(None) => continue,
                        Err(error) if error.is_interruption() || by.is_none() => return Err(error),
                        // What needs it fails, and everything else goes on.
                        Err(error) => self.add_failed(path, error),
                    }
                }
            };
            let goal = &mut self.goals[node];
            goal.wanted.extend(goal.drv.outputs.keys().filter(|name| outputs.contains(name)).cloned());
            match by {
                None => {
                    goal.mode = mode;
                    top = Some(node);
                }
                Some(by) => {
                    goal.needed_by.push(by);
                    let ended = matches!(goal.state, State::Failed(_));
                    let by = &mut self.goals[by];
                    by.needs.push(node);
                    by.open += usize::from(!ended);
                    by.failed += usize::from(ended);
                }
            }
        }
        Ok(top)
    }

    /// Reads a derivation of which an output is needed that is not there, or that is to be built `again`.
    fn look(
        &self,
        store: &LocalStore,
        path: &StorePath,
        outputs: &Outputs,
        again: bool,
    ) -> Result<Option<Derivation>> {
        store.add_temp_roots(&[path])?;
        if !store.is_there(path)? {
            return Err(super::no_derivation(store.dir(), path));
        }
        let drv = store.queries().read_derivation(path)?;
        if let Some(name) = outputs.missing(&drv) {
            return Err(no_output(store.dir(), path, name));
        }
        let mut complete = !again;
        for (_, path) in output_paths(store, path, &drv, outputs)? {
            complete &= match path {
                Some(path) => {
                    store.add_temp_roots(&[&path])?;
                    store.is_there(&path)?
                }
                None => {
                    store.require_realisations()?;
                    false
                }
            };
        }
        Ok((!complete).then_some(drv))
    }

    fn add(&mut self, path: StorePath, drv: Derivation, needs: &mut Vec<Need>) -> Node {
        let node = self.goals.len();
        needs.extend(drv.input_drvs.iter().map(|(path, names)| Need {
            path: path.clone(),
            outputs: Outputs::Named(names.clone()),
            by: Some(node),
        }));
        self.push(path, drv, State::Waiting)
    }

    fn add_failed(&mut self, path: StorePath, error: StoreError) -> Node {
        self.push(path, Derivation::default(), State::Failed(error))
    }

    fn push(&mut self, path: StorePath, drv: Derivation, state: State) -> Node {
        let node = self.goals.len();
        self.by_path.insert(path.clone(), node);
        self.goals.push(Goal {
            path,
            drv: Arc::new(drv),
            wanted: BTreeSet::new(),
            is_asked_for: false,
            needs: Vec::new(),
            needed_by: Vec::new(),
            open: 0,
            failed: 0,
            kinds: FailureKinds::default(),
            above: 0,
            state,
            locks: BTreeMap::new(),
            told_of_waiting: Cell::new(false),
            mode: RealiseMode::Normal,
            damaged: BTreeSet::new(),
        });
        node
    }

    /// Finds the chains of goals that need each other: what stands at the bottom of a long
    /// one has to begin early.
    fn measure(&mut self) {
        let mut open: Vec<usize> = self.goals.iter().map(|goal| goal.needed_by.len()).collect();
        let mut next: Vec<Node> = (0..self.goals.len()).filter(|node| open[*node] == 0).collect();
        while let Some(node) = next.pop() {
            let above = self.goals[node].above + 1;
            for index in 0..self.goals[node].needs.len() {
                let below = self.goals[node].needs[index];
                self.goals[below].above = self.goals[below].above.max(above);
                open[below] -= 1;
                if open[below] == 0 {
                    next.push(below);
                }
            }
        }
    }
}
