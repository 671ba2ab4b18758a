//! Working off a graph of goals: which is begun when, and what becomes of those that need it.
//!
//! The store belongs to the thread that does this. Each build has a thread of its own, which needs
//! no store: what it is to know is found out before, and what it made is registered after. What
//! ends at the same time is registered together.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use super::graph::{Graph, Node, State};
use super::prepare::{Begun, Prepared};
use super::register;
use super::{elsewhere, failure};
use crate::build::hooks::{self, HookError};
use crate::build::steps::{Built, Failed};
use crate::model::StorePath;
use crate::model::signature::SecretKey;
use crate::ops::realise::context::RealiseContext;
use crate::progress::{Activity, ActivityId, ActivityKind, Counts};
use crate::store::error::{FailureKinds, Result, StoreError};
use crate::store::open::secret_key;
use crate::sys::interrupt::{self, CancelToken};

/// How long nothing may be heard before it is looked whether the work is to end, and whether
/// locks have been let go.
const LOOK: Duration = Duration::from_millis(50);

/// What a thread says of a goal.
enum Said {
    /// Its build has ended.
    Built(Box<std::result::Result<Built, Box<Failed>>>),
    /// The program that runs after it has ended.
    Hooked(std::result::Result<(), HookError>),
}

/// Goals that can be begun, in the order in which they are: first what stands at the bottom of
/// long chains, then by name, as in the reference.
type Ready = BTreeSet<(Reverse<usize>, String, Node)>;

/// The work on a graph.
pub(super) struct Run<'r, 'm> {
    pub context: &'r RealiseContext<'m>,
    pub graph: &'r mut Graph,
    ready: Ready,
    /// Those whose outputs somebody else is at work on.
    locked_out: BTreeSet<Node>,
    running: Vec<Node>,
    /// Those among them that take no place here.
    elsewhere: BTreeSet<Node>,
    /// Those that are built, while the program runs that runs after them.
    hooked: BTreeSet<Node>,
    /// Something failed, and nothing more is begun.
    stopping: bool,
    /// Ends the builds that run.
    token: CancelToken,
    /// Ends the programs that run after builds: what is valid is to be told to them all the same after
    /// another build has failed.
    hook_token: CancelToken,
    counts: Counts,
    activities: Activities,
    /// What outputs are signed with.
    keys: Vec<SecretKey>,
}

/// What is told of the whole.
struct Activities {
    realise: ActivityId,
    builds: ActivityId,
}

impl<'r, 'm> Run<'r, 'm> {
    /// Begins the work.
    ///
    /// # Errors
    /// A key for signing that cannot be read: it would be missed after hours of building.
    pub fn new(context: &'r RealiseContext<'m>, graph: &'r mut Graph) -> Result<Self> {
        let keys =
            context.builds.secret_key_files.iter().map(|path| secret_key(path)).collect::<Result<_>>()?;
        let start = |kind, parent| context.progress.start(&Activity { kind, text: "", fields: &[], parent });
        let realise = start(ActivityKind::Realise, ActivityId::NONE);
        let builds = start(ActivityKind::Builds, ActivityId::NONE);
        let counts = Counts { expected: graph.goals.len() as u64, ..Counts::default() };
        Ok(Self {
            context,
            graph,
            ready: Ready::new(),
            locked_out: BTreeSet::new(),
            running: Vec::new(),
            hooked: BTreeSet::new(),
            elsewhere: BTreeSet::new(),
            stopping: false,
            token: CancelToken::new(),
            hook_token: CancelToken::new(),
            counts,
            activities: Activities { realise, builds },
            keys,
        })
    }

    /// Works until every goal has ended.
    ///
    /// # Errors
    /// Errors of the store, and an interruption; nothing runs any more then.
    pub fn work(mut self) -> Result<()> {
        let (say, hear) = channel();
        let result = std::thread::scope(|scope| {
            let result = self.work_in(scope, &say, &hear);
            // Whatever runs still is waited for at the end of the scope.
            self.token.cancel();
            self.hook_token.cancel();
            result
        });
        self.context.progress.stop(self.activities.builds);
        self.context.progress.stop(self.activities.realise);
        result?;
        self.give_up_the_rest();
        Ok(())
    }

    fn work_in<'s>(
        &mut self,
        scope: &'s Scope<'s, '_>,
        say: &Sender<(Node, Said)>,
        hear: &Receiver<(Node, Said)>,
    ) -> Result<()>
    where
        'm: 's,
        'r: 's,
    {
        for node in 0..self.graph.goals.len() {
            if let State::Failed(error) = &self.graph.goals[node].state {
                // Those that need it say only that it failed.
                self.context.progress.problem(&format!("error: {error}"));
            }
        }
        for node in 0..self.graph.goals.len() {
            self.offer(node);
        }
        loop {
            interrupt::check()?;
            self.begin_all(scope, say)?;
            let is_idle = self.running.is_empty() && self.hooked.is_empty();
            let none_waits = self.locked_out.is_empty() && self.ready.is_empty();
            if is_idle && (none_waits || self.stopping) {
                return Ok(());
            }
            let mut ended = Vec::new();
            match hear.recv_timeout(LOOK) {
                Ok(said) => ended.push(said),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {}
            }
            ended.extend(hear.try_iter());
            self.settle(scope, say, ended)?;
        }
    }

    /// Takes a goal up for being begun, if nothing is in the way any more.
    fn offer(&mut self, node: Node) {
        let goal = &self.graph.goals[node];
        if goal.open > 0 || !matches!(goal.state, State::Waiting) {
            return;
        }
        if goal.failed > 0 {
            let error = failure::of_needs(self.context, goal);
            return self.fail(node, error);
        }
        let name = goal.path.name().to_owned();
        self.ready.insert((Reverse(goal.above), name, node));
    }

    fn begin_all<'s>(&mut self, scope: &'s Scope<'s, '_>, say: &Sender<(Node, Said)>) -> Result<()>
    where
        'm: 's,
        'r: 's,
    {
        for node in std::mem::take(&mut self.locked_out) {
            self.offer(node);
        }
        let mut later = Vec::new();
        while !self.stopping
            && let Some(first) = self.ready.pop_first()
        {
            interrupt::check()?;
            let (_, _, node) = first;
            let here = self.running.len() - self.elsewhere.len();
            let has_slot = (here as u64) < self.context.builds.max_jobs.max(1);
            match super::prepare::begin(self.context, &self.graph.goals[node], has_slot) {
                Ok(Begun::Valid) => self.end_well(node),
                Ok(Begun::NoSlot) => {
                    later.push(first);
                    // Without machines to ask, the others would hear the same.
                    if !self.context.farm.has_machines() {
                        break;
                    }
                }
                Ok(Begun::Locked) => _ = self.locked_out.insert(node),
                Ok(Begun::Ready(prepared)) => self.start(scope, say, node, *prepared),
                Err(error) if error.is_interruption() => return Err(error),
                Err(error) => self.fail(node, error),
            }
        }
        self.ready.extend(later);
        Ok(())
    }

    fn start<'s>(
        &mut self,
        scope: &'s Scope<'s, '_>,
        say: &Sender<(Node, Said)>,
        node: Node,
        prepared: Prepared,
    ) where
        'm: 's,
        'r: 's,
    {
        let Prepared { job, locks } = prepared;
        if job.is_elsewhere() {
            self.elsewhere.insert(node);
        }
        let goal = &mut self.graph.goals[node];
        goal.state = State::Running;
        goal.locks = locks;
        self.running.push(node);
        self.tell_counts();
        let (progress, token, say) = (self.context.progress, self.token.clone(), say.clone());
        let work = move || {
            let result = token.scope(|| job.run(progress));
            // Who hears it waits for all threads.
            let _ = say.send((node, Said::Built(Box::new(result))));
        };
        let _: ScopedJoinHandle<'s, ()> = scope.spawn(work);
    }

    /// Takes note of builds that have ended.
    fn settle<'s>(
        &mut self,
        scope: &'s Scope<'s, '_>,
        say: &Sender<(Node, Said)>,
        ended: Vec<(Node, Said)>,
    ) -> Result<()>
    where
        'm: 's,
        'r: 's,
    {
        let mut built = Vec::new();
        for (node, said) in ended {
            let result = match said {
                Said::Built(result) => *result,
                Said::Hooked(result) => {
                    self.end_hook(node, result)?;
                    continue;
                }
            };
            self.running.retain(|running| *running != node);
            if self.elsewhere.remove(&node) {
                self.context.farm.look_again();
            }
            match result {
                Ok(made) => built.push((node, made)),
                Err(failed) if failed.is_interruption() => {
                    interrupt::check()?;
                    let goal = &mut self.graph.goals[node];
                    goal.locks.clear();
                    goal.state = State::Cancelled;
                }
                Err(failed) if elsewhere::is_lost(self.context, &failed) => {
                    let goal = &mut self.graph.goals[node];
                    goal.locks.clear();
                    goal.state = State::Waiting;
                    self.offer(node);
                }
                Err(failed) => {
                    let goal = &self.graph.goals[node];
                    let error = failure::of_build(self.context, goal, &failed);
                    self.fail(node, error);
                }
            }
        }
        for (node, result) in register::register(self.context, &mut self.graph.goals, &self.keys, built)? {
            match result {
                Ok(paths) => match &self.context.builds.post_build_hook {
                    Some(hook) => self.start_hook(scope, say, node, hook.clone(), paths),
                    None => self.end_well(node),
                },
                Err(error) => self.fail(node, error),
            }
        }
        self.tell_counts();
        Ok(())
    }

    /// Runs the program that is to be run after a build. What needs the build waits for it, and nothing
    /// else does.
    fn start_hook<'s>(
        &mut self,
        scope: &'s Scope<'s, '_>,
        say: &Sender<(Node, Said)>,
        node: Node,
        hook: PathBuf,
        paths: Vec<StorePath>,
    ) where
        'm: 's,
        'r: 's,
    {
        self.hooked.insert(node);
        let dir = self.context.store.dir();
        let drv_path = dir.print(&self.graph.goals[node].path);
        let paths: Vec<String> = paths.iter().map(|path| dir.print(path)).collect();
        let (progress, builds) = (self.context.progress, self.context.builds.clone());
        let (token, say) = (self.hook_token.clone(), say.clone());
        let work = move || {
            let result = token.scope(|| hooks::post_build(&builds, &hook, &drv_path, &paths, progress));
            // Who hears it waits for all threads.
            let _ = say.send((node, Said::Hooked(result)));
        };
        let _: ScopedJoinHandle<'s, ()> = scope.spawn(work);
    }

    fn end_hook(&mut self, node: Node, result: std::result::Result<(), HookError>) -> Result<()> {
        self.hooked.remove(&node);
        match result {
            Ok(()) => self.end_well(node),
            Err(HookError::Interrupted(_)) => {
                interrupt::check()?;
                self.graph.goals[node].state = State::Cancelled;
            }
            Err(error) => {
                let goal = &self.graph.goals[node];
                let error = failure::of_text(self.context, goal, error.to_string(), FailureKinds::default());
                self.fail(node, error);
            }
        }
        Ok(())
    }

    fn end_well(&mut self, node: Node) {
        self.graph.goals[node].state = State::Done;
        self.counts.done += 1;
        for index in 0..self.graph.goals[node].needed_by.len() {
            let by = self.graph.goals[node].needed_by[index];
            self.graph.goals[by].open -= 1;
            self.offer(by);
        }
    }

    /// Takes note that a goal has failed, and with it what needs it: at once if nothing goes on after a
    /// failure, up to what somebody asked for; else when everything else that it needs has ended.
    fn fail(&mut self, node: Node, error: StoreError) {
        let goes_on = self.context.builds.keep_going;
        let mut failing = vec![(node, error)];
        while let Some((node, error)) = failing.pop() {
            let kinds = error.failure_kinds();
            let goal = &mut self.graph.goals[node];
            if !goal.needed_by.is_empty() {
                self.context.progress.problem(&format!("error: {error}"));
            }
            goal.locks.clear();
            goal.state = State::Failed(error);
            self.counts.failed += 1;
            if !goes_on {
                self.stopping = true;
                self.token.cancel();
                if self.graph.goals[node].is_asked_for {
                    continue;
                }
            }
            for index in 0..self.graph.goals[node].needed_by.len() {
                let by = self.graph.goals[node].needed_by[index];
                let goal = &mut self.graph.goals[by];
                goal.open -= 1;
                goal.failed += 1;
                goal.kinds = goal.kinds.with(kinds);
                if matches!(goal.state, State::Waiting) && (goal.open == 0 || !goes_on) {
                    failing.push((by, failure::of_needs(self.context, goal)));
                }
            }
        }
    }

    /// After everything has ended: what was not begun was given up.
    fn give_up_the_rest(&mut self) {
        for goal in &mut self.graph.goals {
            if matches!(goal.state, State::Waiting | State::Running) {
                goal.state = State::Cancelled;
            }
        }
    }

    fn tell_counts(&mut self) {
        self.counts.running = self.running.len() as u64;
        self.context.progress.report(self.activities.builds, self.counts);
    }
}
