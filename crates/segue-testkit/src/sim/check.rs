//! What must hold after every input.

use std::{collections::BTreeMap, time::Duration};

use segue_core::{
    event::{Event, EventKind},
    ids::{NodeId, RunId, TaskId},
    ports::TaskRow,
    run::{Address, Command, Input, Run},
    status::Status,
    time::Timestamp,
};

use serde_json::Value;

use crate::auditor::Auditor;

/// Whether an input means anything, by the auditor's reckoning.
pub(super) fn is_due(auditor: &Auditor, input: &Input, now: Timestamp) -> bool {
    match input {
        Input::TaskAccepted { task } => auditor.room() > 0 && auditor.ready(now).contains(task),
        Input::TaskEnded { task, attempt, .. } => under_way(auditor, task, *attempt),
        Input::Woke { .. } => true,
        Input::Signal { .. } => !answers(auditor, input).is_empty(),
        Input::TaskWaits { task, attempt, .. } => auditor.may_await(task) && auditor.attempts(task) == *attempt,
        Input::Cancel { .. } => auditor.is_live(),
        Input::Reopen => matches!(auditor.ended(), Some(Status::Failed | Status::Cancelled)),
    }
}

/// Is this attempt under way, here or in another run?
pub(super) fn under_way(auditor: &Auditor, task: &TaskId, attempt: u32) -> bool {
    let awaits = |one: &(TaskId, u32, RunId)| one.0 == *task && one.1 == attempt;
    auditor.alive().contains(&(task.clone(), attempt)) || auditor.awaiting().iter().any(awaits)
}

/// Which tasks a signal answers, and with what.
pub(super) fn answers(auditor: &Auditor, input: &Input) -> Vec<(TaskId, Value)> {
    match input {
        Input::Signal { to: Address::Task(task), data, .. } => {
            auditor.answer_to(task, data).map(|answer| (task.clone(), answer)).into_iter().collect()
        }
        Input::Signal { to: Address::Event(name), data, .. } => {
            auditor.listeners(name, data).into_iter().map(|task| (task, data.clone())).collect()
        }
        _ => Vec::new(),
    }
}

/// Whom the signal was for has it, and nobody else.
pub(super) fn signaled(expected: &[(TaskId, Value)], events: &[Event]) -> Result<(), String> {
    let mut recorded: Vec<(TaskId, Value)> = events
        .iter()
        .filter_map(|event| match (&event.kind, &event.task_id) {
            (EventKind::TaskSignaled { data, .. }, Some(task)) => Some((task.clone(), (**data.value()?).clone())),
            _ => None,
        })
        .collect();
    let mut expected = expected.to_vec();
    expected.sort_by(|a, b| a.0.cmp(&b.0));
    recorded.sort_by(|a, b| a.0.cmp(&b.0));
    if recorded == expected { Ok(()) } else { Err(format!("the signal reaches {recorded:?}, not {expected:?}")) }
}

/// The kernel's answers against the auditor's.
pub(super) fn owed(run: &Run, auditor: &Auditor, now: Timestamp) -> Result<(), String> {
    let (mut accept, mut execute, mut follow, mut wake) = (Vec::new(), Vec::new(), Vec::new(), None);
    for command in run.owed(now) {
        match command {
            Command::Accept { task } => accept.push(task.clone()),
            Command::Execute { task, attempt } => execute.push((task.clone(), attempt)),
            Command::WakeAt(time) => wake = Some(time),
            Command::Await { task, attempt, child } => follow.push((task.clone(), attempt, child)),
        }
    }
    if run.status().is_terminal() && !(accept.is_empty() && execute.is_empty() && follow.is_empty() && wake.is_none()) {
        return Err(format!("an ended run is owed {accept:?} {execute:?} {wake:?}"));
    }
    let mut alive = auditor.alive();
    let mut running: Vec<(TaskId, u32)> = run.running().map(|(task, attempt)| (task.clone(), attempt)).collect();
    alive.sort();
    running.sort();
    execute.sort();
    if running != alive {
        return Err(format!("the kernel takes {running:?} for running, by the log it is {alive:?}"));
    }
    if execute != if auditor.is_live() { alive.clone() } else { Vec::new() } {
        return Err(format!("the attempts {execute:?} are owed, while {alive:?} are alive"));
    }
    let mut awaiting = auditor.awaiting();
    let mut known: Vec<_> = run.awaiting().map(|(task, attempt, child)| (task.clone(), attempt, child)).collect();
    awaiting.sort();
    known.sort();
    follow.sort();
    if known != awaiting || follow != if auditor.is_live() { awaiting.clone() } else { Vec::new() } {
        return Err(format!("{known:?} wait for other runs, {follow:?} are owed; by the log {awaiting:?} wait"));
    }
    for (task, attempt) in &alive {
        given(run, auditor, task).map_err(|why| format!("attempt {attempt} of `{task}`: {why}"))?;
    }
    let may_start = auditor.ready(now);
    let strange = accept.iter().find(|task| !may_start.contains(task));
    if strange.is_some() || accept.len() != auditor.room().min(may_start.len()) {
        return Err(format!("{accept:?} may be accepted, by the log {may_start:?}, at most {}", auditor.room()));
    }
    let due = auditor.next_due(now);
    if wake != due {
        return Err(format!("wants to be woken at {wake:?}, by the log at {due:?}"));
    }
    let waiting = auditor.waiting();
    let known: Vec<_> = run.waiting().map(|(task, waiting)| (task.clone(), waiting.clone())).collect();
    if waiting.len() != known.len() || !known.iter().all(|one| waiting.contains(one)) {
        return Err(format!("the kernel takes {known:?} for waiting, by the log it is {waiting:?}"));
    }
    let is_silent = accept.is_empty() && running.is_empty() && wake.is_none() && waiting.is_empty();
    if !run.status().is_terminal() && is_silent {
        return Err("a live run is owed nothing, and nothing is under way".into());
    }
    Ok(())
}

/// What an attempt is given: every value that it reads must still be in memory.
fn given(run: &Run, auditor: &Auditor, task: &TaskId) -> Result<(), String> {
    match (run.render(task), auditor.given(task)) {
        (Ok(rendered), Ok((inputs, material))) => {
            let taken = rendered.material.iter().map(|(id, value)| (id.clone(), (**value).clone()));
            let taken: Vec<(NodeId, Value)> = taken.collect();
            if *rendered.inputs == inputs && taken == material {
                return Ok(());
            }
            Err(format!("is given {} and {taken:?}, by the log {inputs} and {material:?}", rendered.inputs))
        }
        (Err(_), Err(_)) => Ok(()),
        (rendered, expected) => Err(format!("is given {rendered:?}, by the log {expected:?}")),
    }
}

/// What `events` did to the rows, and what the rows say now.
pub(super) fn rows(
    run: &Run,
    auditor: &Auditor,
    table: &mut BTreeMap<TaskId, TaskRow>,
    events: &[Event],
) -> Result<(), String> {
    for row in run.task_rows(events) {
        table.insert(row.task_id.clone(), row);
    }
    let all = run.all_task_rows();
    let untouched = |row: &TaskRow| row.status == Status::Pending && row.attempts == 0;
    let stale = all.iter().find(|row| table.get(&row.task_id).map_or(!untouched(row), |kept| kept != *row));
    if let Some(row) = stale {
        return Err(format!("the stored row {:?} should be {row:?}", table.get(&row.task_id)));
    }
    auditor.check_rows(&run.run_row(), &all).map_err(|violation| violation.to_string())
}

/// Being woken ends what is overdue, and nothing else.
pub(super) fn woke(
    before: &[TaskId],
    run_was_late: bool,
    events: &[Event],
    auditor: &Auditor,
    now: Timestamp,
) -> Result<(), String> {
    let over = auditor.overdue(now);
    if !over.is_empty() || auditor.run_overdue(now) {
        return Err(format!("the limits of {over:?} or of the run have passed, and nothing came of it"));
    }
    if auditor.next_due(now).is_some_and(|due| due <= now) {
        return Err(format!("wants to be woken again at once, at {:?}", auditor.next_due(now)));
    }
    for event in events {
        let punctual = match &event.kind {
            EventKind::TaskRetrying { .. } => event.task_id.as_ref().is_some_and(|task| before.contains(task)),
            EventKind::TaskFailed { .. } if event.attempt.is_some() => {
                event.task_id.as_ref().is_some_and(|task| before.contains(task))
            }
            EventKind::TaskStarted {} | EventKind::TaskSucceeded { .. } if event.attempt.is_some() => false,
            EventKind::TaskSignaled { .. } => false,
            _ => true,
        };
        if !punctual {
            return Err(format!("woken before anything was due, it records {event:?}"));
        }
    }
    if !run_was_late && before.is_empty() && !events.is_empty() {
        return Err(format!("woken for nothing, it records {events:?}"));
    }
    Ok(())
}

/// A drawn pause is the computed one times the draw.
pub(super) fn jitter(event: &Event, auditor: &Auditor, drawn: f64) -> Result<(), String> {
    let (EventKind::TaskRetrying { due, lost, .. }, Some(task)) = (&event.kind, &event.task_id) else {
        return Ok(());
    };
    let counts = lost.is_none_or(|lost| lost == segue_core::outcome::Loss::Worker);
    let Some((shortest, longest)) = auditor.last_pause(task).filter(|_| counts) else { return Ok(()) };
    let expected = if shortest == longest { longest } else { longest.mul_f64(drawn) };
    let given = due.since(event.time);
    if given.abs_diff(expected) > Duration::from_micros(3) {
        return Err(format!("`{task}` pauses for {given:?}, not for {expected:?} (jitter {drawn})"));
    }
    Ok(())
}
