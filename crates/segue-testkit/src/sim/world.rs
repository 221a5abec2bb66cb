//! The world of one run: a clock, an engine that dies, a log that does not, and mail.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use fastrand::Rng;
use segue_core::{
    event::{Event, RunCreated},
    ids::{HandlerId, RunId, TaskId},
    payload::Payload,
    plan::Plan,
    ports::TaskRow,
    run::{Input, Run},
    time::Timestamp,
};

use super::{
    Case, Coverage, Failure, check,
    children::{self, Children},
    generate::{self, CHILD},
    judge,
    races::Races,
    rerun::{self, Results},
    workers::{Mail, Mood},
};
use crate::auditor::{Auditor, audit};

/// After so many steps of a kind world a run has ended, or never will.
const KIND_STEPS_MAX: usize = 4_000;

pub(super) struct World {
    seed: u64,
    pub(super) rng: Rng,
    pub(super) mood: Mood,
    pub(super) case: Case,
    pub(super) plan: Arc<Plan>,
    pub(super) now: Timestamp,
    /// The engine's memory.
    pub(super) run: Run,
    /// What the log means: the fold of it, event by event.
    pub(super) folded: Run,
    /// The log: all of it is committed, except during a batch.
    pub(super) log: Vec<Event>,
    /// Has seen the log.
    pub(super) auditor: Auditor,
    pub(super) rows: BTreeMap<TaskId, TaskRow>,
    /// The attempts that this engine knows of: it dispatched them, or reports them as lost.
    pub(super) known: BTreeSet<(TaskId, u32)>,
    /// Those that it told to stop.
    pub(super) told: BTreeSet<(TaskId, u32)>,
    /// The attempts that wait for another run, and that this engine waits for.
    pub(super) followed: BTreeSet<(TaskId, u32, RunId)>,
    pub(super) children: Children,
    /// The tasks whose questions people have heard.
    pub(super) asked: BTreeSet<TaskId>,
    pub(super) mail: Vec<Mail>,
    pub(super) races: Races,
    pub(super) reopens_left: u8,
    pub(super) coverage: Coverage,
    pub(super) history: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> Result<Self, Box<Failure>> {
        let mut rng = Rng::with_seed(seed);
        let case = generate::case(&mut rng);
        let mut taken = None;
        if rng.u8(..12) == 0 {
            let earlier = Self::of(seed, rng.fork(), case.clone(), None)?.play()?;
            taken = Some(rerun::results(&mut rng, &earlier.case.spec, &earlier.log));
        }
        Self::of(seed, rng, case, taken)
    }

    /// A run of this case; with results of an earlier one, if there are any to take over.
    fn of(seed: u64, mut rng: Rng, case: Case, taken: Option<Results>) -> Result<Self, Box<Failure>> {
        let failed = |case: &Case, problem: String| {
            Box::new(Failure { seed, problem, case: case.clone(), history: Vec::new(), log: Vec::new() })
        };
        let plan = Plan::compile(&case.spec, &HandlerId::from("pass"))
            .map_err(|error| failed(&case, format!("the generator wrote a bad workflow: {error}")))?;
        let plan = Arc::new(plan);
        let mut created = RunCreated::new(plan.hash(), Payload::new(case.params.clone()));
        created.workflows = BTreeMap::from([(CHILD.into(), children::version())]);
        let now = generate::BEGIN;
        let id = RunId::from_bytes(u128::from(seed).to_be_bytes());
        let (run, log) = match &taken {
            None => Run::create(plan.clone(), id, created, now),
            Some(taken) => {
                created.rerun_of = Some(rerun::EARLIER);
                Run::create_from(plan.clone(), id, created, taken.clone(), now)
            }
        };
        let auditor = audit(&case.spec, &log).map_err(|violation| {
            let problem = violation.to_string();
            Box::new(Failure { seed, problem, case: case.clone(), history: Vec::new(), log: log.clone() })
        })?;
        let mut world = Self {
            seed,
            mood: Mood::draw(&mut rng),
            reopens_left: rng.u8(..3),
            rng,
            case,
            plan,
            now,
            folded: run.clone(),
            run,
            auditor,
            rows: BTreeMap::new(),
            known: BTreeSet::new(),
            told: BTreeSet::new(),
            followed: BTreeSet::new(),
            children: Children::default(),
            asked: BTreeSet::new(),
            mail: Vec::new(),
            races: Races::default(),
            coverage: Coverage::default(),
            history: Vec::new(),
            log,
        };
        let events = world.log.clone();
        let reused =
            taken.map_or(Ok(()), |taken| rerun::check(taken, &world.auditor, now, &events, &mut world.coverage));
        reused.and_then(|()| world.check(&events)).map_err(|problem| world.failure(problem))?;
        Ok(world)
    }

    pub(super) fn play(mut self) -> Result<Self, Box<Failure>> {
        match self.play_out() {
            Ok(()) => Ok(self),
            Err(problem) => Err(self.failure(problem)),
        }
    }

    fn failure(&self, problem: String) -> Box<Failure> {
        let (case, history, log) = (self.case.clone(), self.history.clone(), self.log.clone());
        Box::new(Failure { seed: self.seed, problem, case, history, log })
    }

    fn play_out(&mut self) -> Result<(), String> {
        let steps = self.rng.usize(10..30 + 14 * self.case.spec.nodes.len());
        for _ in 0..steps {
            self.hostile_step()?;
        }
        self.history.push("the world becomes kind".into());
        for _ in 0..KIND_STEPS_MAX {
            if self.run.status().is_terminal() {
                return self.afterwards();
            }
            self.kind_step()?;
        }
        Err(format!("has not ended after {KIND_STEPS_MAX} steps in a kind world"))
    }

    /// The run has ended: the log is whole, and what still comes in changes nothing.
    fn afterwards(&mut self) -> Result<(), String> {
        let auditor = audit(&self.case.spec, &self.log).map_err(|violation| violation.to_string())?;
        auditor.finished().map_err(|violation| violation.to_string())?;
        if self.reload()? != self.run {
            return Err("the log, read from disk, is not what the memory says".into());
        }
        for mail in std::mem::take(&mut self.mail) {
            let input = mail.input(&mut self.rng);
            self.handle(input)?;
        }
        self.coverage.saw_log(&self.log);
        self.coverage.saw_stages(&self.case.spec, &self.log);
        Ok(())
    }

    /// One input, and all checks.
    pub(super) fn handle(&mut self, input: Input) -> Result<(), String> {
        self.history.push(format!("{} {input:?}", self.now));
        self.coverage.saw("input");
        let is_due = check::is_due(&self.auditor, &input, self.now);
        let (late, run_was_late) = (self.auditor.overdue(self.now), self.auditor.run_overdue(self.now));
        let answer = match &input {
            Input::TaskEnded { jitter, outcome, task, .. } => {
                Some((*jitter, outcome.clone(), judge::judgement(&self.auditor, task, outcome)))
            }
            _ => None,
        };
        let answered = check::answers(&self.auditor, &input);
        let waited: Vec<TaskId> = self.auditor.waiting().into_iter().map(|(task, _)| task).collect();
        let [if_accepted, if_rejected] = self.races.contest(&self.auditor, &input, self.now);
        let is_wake = matches!(input, Input::Woke { .. });
        match self.run.handle(input, self.now) {
            Ok(events) => {
                self.log.extend_from_slice(&events);
                events.iter().for_each(|event| self.folded.apply(event));
                if !is_due {
                    return Err("an input was accepted that means nothing".into());
                }
                for event in &events {
                    self.auditor.observe(event).map_err(|violation| violation.to_string())?;
                    if let Some((drawn, ..)) = answer {
                        check::jitter(event, &self.auditor, drawn)?;
                    }
                }
                if let Some((_, given, judgement)) = &answer {
                    self.coverage.saw(judgement.name());
                    judge::answer(given, judgement, &events)?;
                }
                check::signaled(&answered, &events)?;
                Races::count(&mut self.coverage, if_accepted);
                if is_wake {
                    self.races.woke(&waited, &events);
                    check::woke(&late, run_was_late, &events, &self.auditor, self.now)?;
                }
                self.check(&events)
            }
            Err(rejected) => {
                self.history.push(format!("  is rejected: {rejected}"));
                self.coverage.saw("rejected");
                Races::count(&mut self.coverage, if_rejected);
                if is_due {
                    return Err(format!("an input was rejected that is due: {rejected}"));
                }
                if self.run != self.folded {
                    return Err("a rejected input changed the run".into());
                }
                Ok(())
            }
        }
    }

    fn check(&mut self, events: &[Event]) -> Result<(), String> {
        self.auditor.settled().map_err(|violation| violation.to_string())?;
        if self.run != self.folded {
            return Err(format!("the memory is not the fold of the log:\n  {:?}\n  {:?}", self.run, self.folded));
        }
        check::rows(&self.run, &self.auditor, &mut self.rows, events)?;
        check::owed(&self.run, &self.auditor, self.now)
    }

    pub(super) fn chance(&mut self, percent: u8) -> bool {
        percent > 0 && self.rng.u8(..100) < percent
    }
}
