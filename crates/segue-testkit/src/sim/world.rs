//! The world of one run: a clock, an engine that dies, a log that does not, and mail.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use fastrand::Rng;
use segue_core::{
    event::{Event, RunCreated, Waiting},
    ids::{HandlerId, RunId, TaskId},
    outcome::{Loss, TaskOutcome, Usage},
    payload::Payload,
    plan::Plan,
    ports::TaskRow,
    run::{Fold, Input, Run},
    status::Status,
    time::Timestamp,
};

use super::{
    Case, Coverage, Failure, check, generate, people,
    races::Races,
    workers::{self, Mail, Mood},
};
use crate::auditor::{Auditor, audit};

/// After so many steps of a kind world a run has ended, or never will.
const KIND_STEPS_MAX: usize = 4_000;

pub(super) struct World {
    seed: u64,
    rng: Rng,
    mood: Mood,
    pub(super) case: Case,
    plan: Arc<Plan>,
    now: Timestamp,
    /// The engine's memory.
    run: Run,
    /// What the log means: the fold of it, event by event.
    folded: Run,
    /// The log: all of it is committed, except during a batch.
    pub(super) log: Vec<Event>,
    /// Has seen the log.
    auditor: Auditor,
    rows: BTreeMap<TaskId, TaskRow>,
    /// The attempts that this engine knows of: it dispatched them, or reports them as lost.
    known: BTreeSet<(TaskId, u32)>,
    /// Those that it told to stop.
    told: BTreeSet<(TaskId, u32)>,
    /// The tasks whose questions people have heard.
    asked: BTreeSet<TaskId>,
    mail: Vec<Mail>,
    races: Races,
    reopens_left: u8,
    pub(super) coverage: Coverage,
    history: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64) -> Result<Self, Box<Failure>> {
        let mut rng = Rng::with_seed(seed);
        let case = generate::case(&mut rng);
        let failed = |case: &Case, problem: String| {
            Box::new(Failure { seed, problem, case: case.clone(), history: Vec::new(), log: Vec::new() })
        };
        let plan = Plan::compile(&case.spec, &HandlerId::from("pass"))
            .map_err(|error| failed(&case, format!("the generator wrote a bad workflow: {error}")))?;
        let plan = Arc::new(plan);
        let created = RunCreated::new(plan.hash(), Payload::new(case.params.clone()));
        let now = generate::BEGIN;
        let id = RunId::from_bytes(u128::from(seed).to_be_bytes());
        let (run, log) = Run::create(plan.clone(), id, created, now);
        let auditor = audit(&case.spec, &log).map_err(|violation| failed(&case, violation.to_string()))?;
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
            asked: BTreeSet::new(),
            mail: Vec::new(),
            races: Races::default(),
            coverage: Coverage::default(),
            history: Vec::new(),
            log,
        };
        let events = world.log.clone();
        world.check(&events).map_err(|problem| world.failure(problem))?;
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
        Ok(())
    }

    fn hostile_step(&mut self) -> Result<(), String> {
        let mood = self.mood;
        if self.chance(mood.draining) {
            self.drain()?;
        }
        if self.chance(mood.crashing / 3) {
            self.history.push("the engine crashes between two commits".into());
            self.take_over()?;
        }
        let inputs = if self.rng.u8(..4) == 0 { self.rng.usize(1..4) } else { 1 };
        let mut batch: Vec<Input> = (0..inputs).filter_map(|_| self.next_input()).collect();
        let completes = matches!(batch.first(), Some(Input::TaskEnded { .. }));
        if completes && self.chance(mood.racing) {
            let at = self.rng.usize(..=batch.len());
            batch.insert(at, Input::Cancel { reason: "somebody asked at the same time".into() });
        }
        if batch.is_empty() {
            self.pass_time();
            return Ok(());
        }
        self.transact(batch)
    }

    /// What happens next, if anything does.
    fn next_input(&mut self) -> Option<Input> {
        let mood = self.mood;
        let ready: Vec<TaskId> = self.run.ready(self.now).cloned().collect();
        let due: Vec<usize> = (0..self.mail.len()).filter(|&ix| self.mail[ix].at <= self.now).collect();
        let late = self.run.wake_at(self.now).is_some_and(|at| at <= self.now);
        if self.chance(mood.nuisance) {
            return Some(self.nuisance());
        }
        if self.chance(mood.cancelling) {
            return Some(Input::Cancel { reason: "somebody asked".into() });
        }
        if self.run.status().is_terminal() && self.reopens_left > 0 && self.chance(40) {
            self.reopens_left -= 1;
            return Some(Input::Reopen);
        }
        match self.rng.u8(..10) {
            0..=3 if !ready.is_empty() => {
                let ix = if self.rng.bool() { 0 } else { self.rng.usize(..ready.len()) };
                Some(Input::TaskAccepted { task: ready[ix].clone() })
            }
            4..=6 if !due.is_empty() => {
                let mail = self.mail.swap_remove(due[self.rng.usize(..due.len())]);
                Some(mail.input(&mut self.rng))
            }
            7..=8 if late => Some(Input::Woke { jitter: self.rng.f64() }),
            _ if self.chance(2) => Some(Input::Woke { jitter: self.rng.f64() }),
            _ => None,
        }
    }

    /// Something that makes no sense, or comes from the past.
    fn nuisance(&mut self) -> Input {
        let names = self.auditor.names();
        let mut task = names[self.rng.usize(..names.len())].clone();
        match self.rng.u8(..14) {
            10..=13 => people::nuisance(&mut self.rng, &names).input(&mut self.rng),
            0..=2 => Input::TaskAccepted { task },
            3..=8 => {
                let attempts = self.auditor.attempts(&task);
                let attempt = if self.rng.bool() { attempts + 1 } else { self.rng.u32(..=attempts.max(1)) };
                if self.rng.u8(..20) == 0 {
                    task = TaskId::from("nobody");
                }
                Input::TaskEnded {
                    task,
                    attempt,
                    outcome: workers::outcome(&mut self.rng, self.mood),
                    jitter: self.rng.f64(),
                }
            }
            _ => Input::Reopen,
        }
    }

    fn pass_time(&mut self) {
        let next = self.mail.iter().map(|mail| mail.at).chain(self.run.wake_at(self.now)).min();
        match self.rng.u8(..20) {
            0 => self.now = self.now.plus(Duration::from_secs(self.rng.u64(..300))),
            1..=3 => self.now = self.now.plus(Duration::from_millis(self.rng.u64(..2_000))),
            4..=5 => {}
            _ => self.now = self.now.max(next.unwrap_or(self.now)),
        }
    }

    /// Answers come, nothing crashes, the clock goes on.
    fn kind_step(&mut self) -> Result<(), String> {
        let now = self.now;
        if let Some(ix) = (0..self.mail.len()).find(|&ix| self.mail[ix].at <= now) {
            let input = self.mail.swap_remove(ix).input(&mut self.rng);
            return self.transact_calmly(input);
        }
        if self.run.wake_at(now).is_some_and(|at| at <= now) {
            return self.transact_calmly(Input::Woke { jitter: 0.5 });
        }
        let ready = self.run.ready(now).next().cloned();
        if let Some(task) = ready {
            return self.transact_calmly(Input::TaskAccepted { task });
        }
        let silent =
            self.run.running().find(|(task, attempt)| !self.mail.iter().any(|mail| mail.is_of(task, *attempt)));
        if let Some((task, attempt)) = silent.map(|(task, attempt)| (task.clone(), attempt)) {
            let outcome = TaskOutcome::Lost { by: Loss::Worker, message: "it was found dead".into() };
            self.mail.push(workers::mail(now, &task, attempt, outcome));
            return Ok(());
        }
        let next = self.mail.iter().map(|mail| mail.at).chain(self.run.wake_at(now)).min();
        if next.is_none()
            && let Some((task, _)) = self.auditor.waiting().into_iter().next()
        {
            let letter = people::good_answer(&mut self.rng, &self.auditor, &task).ok_or("no answer fits")?;
            self.mail.push(Mail { at: now, letter });
            return Ok(());
        }
        match next {
            Some(next) => self.now = next,
            None => return Err("nothing is on its way, and the run has not ended".into()),
        }
        Ok(())
    }

    fn transact_calmly(&mut self, input: Input) -> Result<(), String> {
        self.handle(input)?;
        self.reconcile();
        Ok(())
    }

    /// Handles a batch and commits it, unless the engine dies.
    fn transact(&mut self, batch: Vec<Input>) -> Result<(), String> {
        let committed = self.log.len();
        let rows = self.chance(self.mood.crashing).then(|| self.rows.clone());
        for input in batch {
            self.handle(input)?;
        }
        if let Some(rows) = rows {
            if self.rng.bool() {
                self.history.push("the engine crashes before the commit".into());
                self.log.truncate(committed);
                self.races.forget();
                self.rows = rows;
                self.coverage.saw("crash before commit");
            } else {
                self.history.push("the engine crashes after the commit".into());
                self.coverage.saw("crash after commit");
            }
            return self.take_over();
        }
        self.reconcile();
        Ok(())
    }

    /// One input, and all checks.
    fn handle(&mut self, input: Input) -> Result<(), String> {
        self.history.push(format!("{} {input:?}", self.now));
        self.coverage.saw("input");
        let is_due = check::is_due(&self.auditor, &input, self.now);
        let (late, run_was_late) = (self.auditor.overdue(self.now), self.auditor.run_overdue(self.now));
        let answer = match &input {
            Input::TaskEnded { jitter, outcome, task, .. } => {
                let refused = matches!(outcome, TaskOutcome::Succeeded { output, .. }
                    if output.value().is_some_and(|output| self.auditor.refuses_output(task, output)));
                Some((*jitter, outcome.clone(), refused))
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
                if let Some((_, given, refused)) = &answer {
                    check::answer(given, *refused, &events)?;
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

    /// The shell's part: dispatch what is owed, stop what is not.
    fn reconcile(&mut self) {
        let running: Vec<(TaskId, u32)> = self.run.running().map(|(task, attempt)| (task.clone(), attempt)).collect();
        for (task, attempt) in running {
            if self.known.insert((task.clone(), attempt)) {
                let timeout = self.run.node(&task).and_then(|node| node.timeout);
                let mail = workers::execute(&mut self.rng, self.mood, self.now, (&task, attempt), timeout);
                self.mail.extend(mail);
            }
            if self.run.is_stopping() && self.told.insert((task.clone(), attempt)) {
                let at = self.now.plus(Duration::from_millis(self.rng.u64(..3_000)));
                let outcome = TaskOutcome::Cancelled { usage: Usage::default() };
                self.mail.push(workers::mail(at, &task, attempt, outcome));
            }
        }
        let waiting: Vec<(TaskId, Waiting)> = self.run.waiting().map(|(t, w)| (t.clone(), w.clone())).collect();
        self.asked.retain(|task| waiting.iter().any(|(waits, _)| waits == task));
        for (task, question) in waiting {
            if !matches!(question, Waiting::Time { .. }) && self.asked.insert(task.clone()) {
                self.mail.extend(people::answers(&mut self.rng, self.mood, self.now, &task, &question));
            }
        }
        if self.run.status().is_terminal() && self.run.status() == Status::Succeeded {
            self.reopens_left = 0;
        }
    }

    /// Another engine reads the log from disk and folds it. It has none of the attempts and says so.
    fn take_over(&mut self) -> Result<(), String> {
        self.run = self.reload()?;
        self.folded = self.run.clone();
        self.auditor = audit(&self.case.spec, &self.log).map_err(|violation| violation.to_string())?;
        self.known.clear();
        self.told.clear();
        let Self { rng, mail, .. } = self;
        mail.retain(|_| rng.bool());
        let lost: Vec<(TaskId, u32)> = self.run.running().map(|(task, attempt)| (task.clone(), attempt)).collect();
        for (task, attempt) in lost {
            let at = self.now.plus(Duration::from_millis(self.rng.u64(..2_000)));
            let outcome = TaskOutcome::Lost { by: Loss::Engine, message: "its engine is gone".into() };
            self.mail.push(workers::mail(at, &task, attempt, outcome));
            self.told.insert((task.clone(), attempt));
            self.known.insert((task, attempt));
            self.coverage.saw("lost with its engine");
        }
        check::owed(&self.run, &self.auditor, self.now)
    }

    /// The log goes through JSON; of its large values only those are loaded that the kernel asks for.
    fn reload(&mut self) -> Result<Run, String> {
        let mut fold = Fold::new(self.plan.clone(), self.run.id());
        for event in &self.log {
            let json = serde_json::to_string(event).map_err(|error| error.to_string())?;
            let mut read: Event = serde_json::from_str(&json).map_err(|error| format!("{error}: {json}"))?;
            if read != *event {
                return Err(format!("written and read, {event:?} becomes {read:?}"));
            }
            if let Some(blob) = fold.wants(&read) {
                let kept = event.kind.payload().filter(|payload| payload.blob() == Some(blob));
                let value = kept.and_then(Payload::value).ok_or("the kernel wants a value that is nowhere")?;
                read.kind.payload_mut().ok_or("a value without a place")?.supply(value.clone());
                self.coverage.saw("large value");
            }
            fold.push(&read).map_err(|error| format!("the committed log cannot be folded: {error}"))?;
        }
        fold.finish().map_err(|error| format!("the committed log cannot be folded: {error}"))
    }

    /// The engine leaves in good order: it hands back what runs, and another takes over.
    fn drain(&mut self) -> Result<(), String> {
        self.history.push("the engine is drained".into());
        self.coverage.saw("drain");
        let running: Vec<(TaskId, u32)> = self.run.running().map(|(task, attempt)| (task.clone(), attempt)).collect();
        for (task, attempt) in running {
            let outcome = TaskOutcome::Lost { by: Loss::Drained, message: "handed back".into() };
            let jitter = self.rng.f64();
            self.handle(Input::TaskEnded { task, attempt, outcome, jitter })?;
        }
        self.take_over()
    }

    fn chance(&mut self, percent: u8) -> bool {
        percent > 0 && self.rng.u8(..100) < percent
    }
}
