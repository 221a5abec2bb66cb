//! Who waits for what, in this engine.
//!
//! Tickets of one workflow that ask for the same limits stand in one line. A line that was refused is not asked for again
//! until something says that it may succeed; of the others, those of the workflow that was served last come last.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::{Arc, Weak},
    time::Duration,
};

use segue_core::{
    ids::{EngineId, LimitKey, TaskRunId},
    ports::{Admission, Bounds, EngineRecord, Freed, LimitAsk, LimitRequest, LimitWait, WaitReason},
};
use tokio::time::Instant;

use super::{
    slot::LimitSlot,
    ticket::{Answer, Asked, Waiting, Want},
};

/// Requests that are decided in one transaction.
const ASKED_AT_ONCE: usize = 64;
/// Of those, of one line.
const ASKED_OF_A_LINE: usize = 16;
/// Lines that a signal lets ask again: if they get something, another signal follows.
const OPENED_BY_A_SIGNAL: usize = 8;
/// Whoever waits asks again after this long, whatever was lost meanwhile.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// A question whose answer was lost may still be under way. After this long it is not: what it was granted so late is
/// given back then.
const UNDER_WAY_MAX: Duration = Duration::from_secs(30);
/// The engine's own lease has to be renewed first.
const ASK_AFTER_LAPSE: Duration = Duration::from_millis(200);

/// A workflow at a limit.
type Place = (Arc<str>, LimitKey);

/// A workflow and the keys of its limits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct LineId {
    party: Arc<str>,
    keys: Vec<LimitKey>,
}

#[derive(Default)]
struct Line {
    tickets: VecDeque<Waiting>,
    state: Mood,
}

/// Is it of use to ask?
#[derive(Default)]
enum Mood {
    #[default]
    Open,
    /// No adapter has a place.
    NoPlace,
    /// A limit refused it.
    Refused { by: LimitKey, until: Instant, holders: Vec<EngineRecord> },
}

/// What waits and what has been answered. Nothing in here calls out.
#[derive(Default)]
pub(super) struct Lines {
    numbers: u64,
    lines: BTreeMap<LineId, Line>,
    places: HashMap<u64, LineId>,
    /// Tickets that the store is being asked about; `true`: nobody wants the answer any more.
    asking: HashMap<u64, bool>,
    answers: HashMap<u64, Answer>,
    /// When each workflow was served last.
    served: HashMap<Arc<str>, u64>,
    living: HashMap<TaskRunId, Weak<LimitSlot>>,
    freed: Vec<Freed>,
    /// Slots are being given back.
    is_freeing: bool,
    /// The store is being asked: what it grants may have to be given back.
    is_asking: bool,
    /// Slots that are given back once more, then: a question for them may be under way.
    doubtful: Vec<(Instant, Freed)>,
    pauses: Vec<(Vec<LimitKey>, Instant)>,
    /// The places in line that the store keeps, or may: a workflow at a limit.
    kept: BTreeSet<Place>,
    /// Those for which perhaps nobody waits any more.
    emptied: BTreeSet<Place>,
    /// Tasks that wait no more, and may have insisted.
    left: Vec<LimitRequest>,
    /// Engines that are known to be gone.
    pub(super) dead: BTreeSet<EngineId>,
}

/// What the keeper is to tell the store.
#[derive(Default)]
pub(super) struct Todo {
    pub(super) pauses: Vec<(Vec<LimitKey>, Instant)>,
    pub(super) freed: Vec<Freed>,
    pub(super) left: Vec<LimitRequest>,
}

/// What gives up a workflow's place in line.
fn nobody_at(party: Arc<str>, key: LimitKey) -> LimitRequest {
    let ask = LimitAsk { key, bounds: Bounds::default(), tokens: None, more: false, keeps_minutes: false };
    LimitRequest { slot: TaskRunId::from("nobody"), party, insists: false, asks: vec![ask] }
}

/// Only the slots: what they took has been counted, or nobody knows.
fn without_tokens(mut freed: Freed) -> Freed {
    for charge in &mut freed.charges {
        (charge.bounds.tokens_per_minute, charge.charged) = (None, 0);
    }
    Freed { tokens: 0, ..freed }
}

impl LineId {
    fn of(want: &Want) -> Self {
        Self { party: want.party.clone(), keys: want.wanted.iter().map(|wanted| wanted.key.clone()).collect() }
    }
}

impl Lines {
    pub(super) fn join(&mut self, want: Want) -> u64 {
        self.numbers += 1;
        let (number, id) = (self.numbers, LineId::of(&want));
        self.lines.entry(id.clone()).or_default().tickets.push_back(Waiting::new(number, want));
        self.places.insert(number, id);
        number
    }

    /// A ticket is given up. What it was granted is to be dropped by the caller.
    pub(super) fn leave(&mut self, number: u64) -> Option<Answer> {
        if let Some(is_unwanted) = self.asking.get_mut(&number) {
            *is_unwanted = true;
        }
        if let Some(id) = self.places.remove(&number)
            && let Some(line) = self.lines.get_mut(&id)
            && let Some(at) = line.tickets.iter().position(|ticket| ticket.number == number)
            && let Some(ticket) = line.tickets.remove(at)
        {
            self.forget(&ticket);
        }
        self.answers.remove(&number)
    }

    /// A ticket waits no more. If the store knows of it, it is told.
    fn forget(&mut self, ticket: &Waiting) {
        self.emptied.extend(ticket.places());
        if ticket.is_unsure {
            self.give_back(ticket.without_knowing(), true);
        }
        if ticket.is_unsure || ticket.refused_by.is_some() {
            // The places in line are given up when nobody waits there.
            self.left.push(ticket.request(|_| true));
        }
    }

    fn waiting_for(&self, party: &Arc<str>, key: &LimitKey) -> usize {
        let lines = self.lines.iter().filter(|(id, _)| id.party == *party && id.keys.contains(key));
        lines.map(|(_, line)| line.tickets.len()).sum()
    }

    pub(super) fn is_answered(&self, number: u64) -> bool {
        self.answers.contains_key(&number)
    }

    pub(super) fn take_answer(&mut self, number: u64) -> Option<Answer> {
        self.answers.remove(&number)
    }

    /// Slots were given back: those who wait for them here need no signal.
    pub(super) fn free(&mut self, freed: Freed, is_doubtful: bool) {
        self.living.remove(&freed.slot);
        for charge in &freed.charges {
            self.signalled(&charge.key);
        }
        self.give_back(freed, is_doubtful);
    }

    /// `is_doubtful`: they were asked for more than once, and one of the questions may still be under way.
    fn give_back(&mut self, freed: Freed, is_doubtful: bool) {
        if is_doubtful {
            self.doubtful.push((Instant::now() + UNDER_WAY_MAX, without_tokens(freed.clone())));
        }
        self.freed.push(freed);
    }

    pub(super) fn pause(&mut self, keys: Vec<LimitKey>, until: Instant) {
        self.pauses.push((keys, until));
    }

    /// What is to be told to the store before anything is asked. Nothing is being asked.
    pub(super) fn todo(&mut self) -> Todo {
        let freed = std::mem::take(&mut self.freed);
        self.is_freeing = !freed.is_empty();
        let mut left = std::mem::take(&mut self.left);
        for (party, key) in std::mem::take(&mut self.emptied) {
            if self.waiting_for(&party, &key) == 0 && self.kept.contains(&(party.clone(), key.clone())) {
                left.push(nobody_at(party, key));
            }
        }
        Todo { pauses: std::mem::take(&mut self.pauses), freed, left }
    }

    /// The store was told who left, or not: then it is told again.
    pub(super) fn have_left(&mut self, left: Vec<LimitRequest>, is_told: bool) {
        for request in left {
            let given_up = request.asks.iter().filter(|ask| !ask.more);
            let places: Vec<Place> = given_up.map(|ask| (request.party.clone(), ask.key.clone())).collect();
            if is_told {
                places.iter().for_each(|place| {
                    self.kept.remove(place);
                });
            } else if places.is_empty() {
                self.left.push(request);
            } else {
                self.emptied.extend(places);
            }
        }
    }

    /// What the answer to a request says of the places that the store keeps. None: it did not answer.
    pub(super) fn keeps_places(&mut self, request: &LimitRequest, is_unsure: bool, answer: Option<&Admission>) {
        for ask in &request.asks {
            let place = (request.party.clone(), ask.key.clone());
            match answer {
                // What was granted before and not heard may have kept it.
                Some(Admission::Granted(_)) if !ask.more && is_unsure => {}
                Some(Admission::Granted(_)) if !ask.more => {
                    self.kept.remove(&place);
                }
                _ => {
                    self.kept.insert(place);
                }
            }
        }
    }

    /// The store has been told, or not: then it is told again.
    pub(super) fn told(&mut self, again: Vec<Freed>) {
        self.is_freeing = false;
        self.freed.extend(again);
    }

    pub(super) fn is_flushed(&self) -> bool {
        self.freed.is_empty() && !self.is_freeing && !self.is_asking
    }

    /// Those that may go next, at most so many, in the order of their turns: one of each workflow, then the next one.
    pub(super) fn candidates(&mut self) -> Vec<Waiting> {
        self.lines.retain(|_, line| !line.tickets.is_empty());
        let mut open: Vec<(u64, &LineId, &mut Line)> = Vec::new();
        for (id, line) in self.lines.iter_mut().filter(|(_, line)| matches!(line.state, Mood::Open)) {
            open.push((self.served.get(&id.party).copied().unwrap_or_default(), id, line));
        }
        open.sort_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
        let mut chosen = Vec::new();
        for round in 0..ASKED_OF_A_LINE {
            let before = chosen.len();
            let mut parties = BTreeSet::new();
            for (_, id, line) in &mut open {
                // One a workflow and round, unless it has several lines.
                if chosen.len() < ASKED_AT_ONCE && (parties.insert(id.party.clone()) || round > 0) {
                    chosen.extend(line.tickets.pop_front());
                }
            }
            if chosen.len() == before {
                break;
            }
        }
        for ticket in &chosen {
            self.places.remove(&ticket.number);
            self.asking.insert(ticket.number, false);
        }
        self.is_asking = !chosen.is_empty();
        chosen
    }

    /// All answers have been carried out.
    pub(super) fn has_asked(&mut self) {
        self.is_asking = false;
    }

    /// The requests of those that are asked about, in their order.
    pub(super) fn requests(&self, asked: &[Asked]) -> Vec<LimitRequest> {
        let requests = asked.iter().enumerate().map(|(at, one)| {
            let party = &one.waiting.want.party;
            let behind = &asked[at + 1..];
            one.waiting.request(|key| {
                let is_behind = |other: &Asked| {
                    other.waiting.want.party == *party
                        && other.waiting.want.wanted.iter().any(|wanted| wanted.key == *key)
                };
                behind.iter().any(is_behind) || self.waiting_for(party, key) > 0
            })
        });
        requests.collect()
    }

    /// Keeps the answer to a ticket until it is taken. Gives it back, to be dropped, if nobody wants it any more.
    pub(super) fn answer(&mut self, ticket: &Waiting, answer: Answer) -> Option<Answer> {
        match &answer {
            Answer::Go(_, slot) => {
                self.emptied.extend(ticket.places());
                self.numbers += 1;
                self.served.insert(ticket.want.party.clone(), self.numbers);
                self.living.insert(ticket.slot.clone(), Arc::downgrade(slot));
            }
            Answer::Never(_) => self.forget(ticket),
        }
        if self.asking.remove(&ticket.number) != Some(false) {
            return Some(answer);
        }
        self.answers.insert(ticket.number, answer);
        None
    }

    /// It goes back to the head of its line, which waits.
    pub(super) fn refused(&mut self, mut ticket: Waiting, wait: LimitWait) {
        let again_in = match wait.why {
            WaitReason::NoLease => ASK_AFTER_LAPSE,
            _ => wait.again_in.unwrap_or(ASK_AGAIN).min(ASK_AGAIN),
        };
        ticket.is_refused_by(wait.on.clone());
        let until = Instant::now() + again_in;
        self.go_back(ticket, Mood::Refused { by: wait.on, until, holders: wait.holders });
    }

    /// There is no place of its adapter.
    pub(super) fn has_no_place(&mut self, ticket: Waiting) {
        self.go_back(ticket, Mood::NoPlace);
    }

    /// The store did not answer. What it may have granted is granted again when it is asked again.
    pub(super) fn unanswered(&mut self, mut ticket: Waiting, pause: Duration) {
        ticket.is_unsure = true;
        let by = ticket.want.wanted[0].key.clone();
        self.go_back(ticket, Mood::Refused { by, until: Instant::now() + pause, holders: Vec::new() });
    }

    fn go_back(&mut self, ticket: Waiting, state: Mood) {
        if self.asking.remove(&ticket.number) != Some(false) {
            return self.forget(&ticket);
        }
        let id = LineId::of(&ticket.want);
        self.places.insert(ticket.number, id.clone());
        let line = self.lines.entry(id).or_default();
        let at = line.tickets.iter().position(|other| other.number > ticket.number).unwrap_or(line.tickets.len());
        line.tickets.insert(at, ticket);
        line.state = state;
    }

    /// Asking again for this limit may succeed: for some of those who wait for it.
    pub(super) fn signalled(&mut self, key: &LimitKey) {
        let refused =
            self.lines.iter_mut().filter(|(_, line)| matches!(&line.state, Mood::Refused { by, .. } if by == key));
        let mut lines: Vec<_> = refused.map(|(id, line)| (self.served.get(&id.party).copied(), line)).collect();
        lines.sort_by_key(|(served, _)| *served);
        lines.into_iter().take(OPENED_BY_A_SIGNAL).for_each(|(_, line)| line.state = Mood::Open);
    }

    /// An adapter may have a place.
    pub(super) fn has_places(&mut self) {
        let without = self.lines.values_mut().filter(|line| matches!(line.state, Mood::NoPlace));
        without.for_each(|line| line.state = Mood::Open);
    }

    /// Opens the lines whose time has come, and those that wait for an engine that `is_gone`. When to look again.
    pub(super) fn look(&mut self, now: Instant, is_gone: &dyn Fn(&EngineRecord) -> bool) -> Option<Instant> {
        let (due, later) = std::mem::take(&mut self.doubtful).into_iter().partition(|(time, _)| *time <= now);
        self.doubtful = later;
        let due: Vec<(Instant, Freed)> = due;
        self.freed.extend(due.into_iter().map(|(_, freed)| freed));
        let mut next = self.doubtful.iter().map(|(time, _)| *time).min();
        for line in self.lines.values_mut() {
            let Mood::Refused { until, holders, .. } = &line.state else { continue };
            let gone: Vec<_> = holders.iter().filter(|holder| is_gone(holder)).collect();
            if *until > now && gone.is_empty() {
                // Whether a neighbour is gone is looked at each second, and costs no store anything.
                let moment = if holders.is_empty() { *until } else { (*until).min(now + Duration::from_secs(1)) };
                next = Some(next.map_or(moment, |known| known.min(moment)));
                continue;
            }
            self.dead.extend(gone.into_iter().map(|holder| holder.engine_id.clone()));
            line.state = Mood::Open;
        }
        next
    }

    /// Is there a line that can ask?
    pub(super) fn has_open(&self) -> bool {
        self.lines.values().any(|line| matches!(line.state, Mood::Open) && !line.tickets.is_empty())
    }

    pub(super) fn has_todo(&self) -> bool {
        let leaves = self.emptied.iter().any(|place| self.kept.contains(place));
        leaves || !(self.freed.is_empty() && self.pauses.is_empty() && self.left.is_empty())
    }

    /// The slots that are held by attempts, or are about to be.
    pub(super) fn living(&mut self) -> Vec<Arc<LimitSlot>> {
        self.living.values().filter_map(Weak::upgrade).collect()
    }
}
