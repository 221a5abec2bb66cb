//! A lane's rules, as a pure machine: who may go when, given the time.
//!
//! A call takes its place among the requests of a minute when it goes, and frees it 60 seconds after its answer began:
//! by then the provider has seen it, so that the provider never counts more in any 60 seconds than the lane does.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use segue_core::{ids::RunId, ports::Bounds};

const MINUTE: Duration = Duration::from_secs(60);

/// What may be asked at once. None: any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) concurrent: Option<u32>,
    pub(crate) requests_per_minute: Option<u32>,
    pub(crate) tokens_per_minute: Option<u64>,
}

impl From<Limits> for Bounds {
    fn from(limits: Limits) -> Self {
        let Limits { concurrent, requests_per_minute, tokens_per_minute } = limits;
        Self { concurrent, per_minute: requests_per_minute, tokens_per_minute }
    }
}

/// Who waits and who goes. `T` is what wakes a caller.
#[derive(Debug)]
pub(crate) struct State<T> {
    limits: Limits,
    /// The runs that wait, the next one first; those of a run in their order.
    queues: VecDeque<(RunId, VecDeque<Ticket<T>>)>,
    next_id: u64,
    in_flight: u32,
    /// Those in flight whose answer has not begun.
    unanswered: u32,
    /// When the answers of the last minute began.
    answered: VecDeque<Instant>,
    /// Tokens of those in flight, as estimated.
    tokens_in_flight: u64,
    /// Tokens of the last minute, with the time of their settlement.
    tokens_settled: VecDeque<(Instant, u64)>,
    paused_until: Option<Instant>,
}

#[derive(Debug)]
struct Ticket<T> {
    id: u64,
    tokens: u64,
    wake: T,
}

impl<T> State<T> {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            queues: VecDeque::new(),
            next_id: 0,
            in_flight: 0,
            unanswered: 0,
            answered: VecDeque::new(),
            tokens_in_flight: 0,
            tokens_settled: VecDeque::new(),
            paused_until: None,
        }
    }

    /// Gets in line behind the others of its run. Gives the place's name.
    pub(crate) fn join(&mut self, run: RunId, tokens: u64, wake: T) -> u64 {
        let ticket = self.ticket(tokens, wake);
        let id = ticket.id;
        match self.queues.iter_mut().find(|(other, _)| *other == run) {
            Some((_, queue)) => queue.push_back(ticket),
            None => self.queues.push_back((run, VecDeque::from([ticket]))),
        }
        id
    }

    /// As [`State::join`], before all others: it has had its turn before.
    pub(crate) fn join_first(&mut self, run: RunId, tokens: u64, wake: T) -> u64 {
        let ticket = self.ticket(tokens, wake);
        let id = ticket.id;
        let own = self.queues.iter().position(|(other, _)| *other == run).and_then(|at| self.queues.remove(at));
        let mut queue = own.map(|(_, queue)| queue).unwrap_or_default();
        queue.push_front(ticket);
        self.queues.push_front((run, queue));
        id
    }

    fn ticket(&mut self, tokens: u64, wake: T) -> Ticket<T> {
        self.next_id += 1;
        Ticket { id: self.next_id, tokens, wake }
    }

    /// Leaves the line. `false`: it was not there any more, its turn has come.
    pub(crate) fn leave(&mut self, id: u64) -> bool {
        for at in 0..self.queues.len() {
            let queue = &mut self.queues[at].1;
            if let Some(place) = queue.iter().position(|ticket| ticket.id == id) {
                queue.remove(place);
                if queue.is_empty() {
                    self.queues.remove(at);
                }
                return true;
            }
        }
        false
    }

    /// The next one whose turn has come; the run that it belongs to is the last in line then.
    pub(crate) fn grant(&mut self, now: Instant) -> Option<T> {
        self.forget(now);
        let tokens = self.queues.front()?.1.front()?.tokens;
        if !self.is_open(tokens) {
            return None;
        }
        let (run, mut queue) = self.queues.pop_front()?;
        let ticket = queue.pop_front()?;
        if !queue.is_empty() {
            self.queues.push_back((run, queue));
        }
        self.in_flight += 1;
        self.unanswered += 1;
        self.tokens_in_flight += ticket.tokens;
        Some(ticket.wake)
    }

    /// When somebody who waits should look again, if nothing else happens before. None: only others can make room.
    pub(crate) fn look_again(&self, now: Instant) -> Option<Instant> {
        if self.queues.is_empty() {
            return None;
        }
        let ends = [
            self.paused_until,
            self.answered.front().map(|began| *began + MINUTE),
            self.tokens_settled.front().map(|(settled, _)| *settled + MINUTE),
        ];
        ends.into_iter().flatten().filter(|end| *end > now).min()
    }

    /// The answer to a call has begun, or there will be none.
    pub(crate) fn answer_begins(&mut self, now: Instant) {
        self.unanswered = self.unanswered.saturating_sub(1);
        if self.limits.requests_per_minute.is_some() {
            self.answered.push_back(now);
        }
    }

    /// A call is over: it was thought to take `estimated` tokens, and took `tokens`.
    pub(crate) fn is_over(&mut self, now: Instant, estimated: u64, tokens: u64) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.tokens_in_flight = self.tokens_in_flight.saturating_sub(estimated);
        if self.limits.tokens_per_minute.is_some() && tokens > 0 {
            self.tokens_settled.push_back((now, tokens));
        }
    }

    /// Nobody goes before this time.
    pub(crate) fn pause(&mut self, until: Instant) {
        self.paused_until = self.paused_until.max(Some(until));
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.iter().map(|(_, queue)| queue.len()).sum()
    }

    fn is_open(&self, tokens: u64) -> bool {
        let Limits { concurrent, requests_per_minute, tokens_per_minute } = self.limits;
        let requests = self.answered.len() + self.unanswered as usize;
        let used = self.tokens_in_flight + self.tokens_settled.iter().map(|(_, tokens)| tokens).sum::<u64>();
        self.paused_until.is_none()
            && concurrent.is_none_or(|most| self.in_flight < most)
            && requests_per_minute.is_none_or(|most| requests < most as usize)
            // One that alone is more than a minute's worth goes when the minute is empty.
            && tokens_per_minute.is_none_or(|most| used == 0 || used + tokens <= most)
    }

    fn forget(&mut self, now: Instant) {
        self.paused_until = self.paused_until.filter(|until| *until > now);
        let is_past = |then: &Instant| *then + MINUTE <= now;
        while self.answered.front().is_some_and(is_past) {
            self.answered.pop_front();
        }
        while self.tokens_settled.front().is_some_and(|(settled, _)| is_past(settled)) {
            self.tokens_settled.pop_front();
        }
    }
}
