//! Budgets: what a run may consume is reserved before a call and settled after it.
//!
//! A call goes when what it could consume at most still fits beside what is under way, or when nothing is under way and
//! something is left. So a run that is far from its end works at full width, one that is near it takes its calls one by
//! one, and no more than the last one can go beyond.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use segue_core::{
    ids::RunId,
    outcome::Usage,
    ports::{Budget, BudgetScope},
};
use tokio::sync::Notify;

/// Runs whose ledger is kept although none of their attempts is under way.
const IDLE_MAX: usize = 4096;

/// The ledgers of the runs that have a budget.
#[derive(Debug, Default)]
pub(crate) struct Ledgers(Mutex<HashMap<RunId, Arc<Ledger>>>);

impl Ledgers {
    /// The ledgers that an attempt draws on, the narrowest first. Its own is made for it: no other attempt of its task is
    /// under way.
    pub(crate) fn of(&self, run: RunId, budgets: &[Budget]) -> Vec<Arc<Ledger>> {
        let own = budgets.iter().filter(|budget| budget.scope == BudgetScope::Task);
        let shared = budgets.iter().filter(|budget| budget.scope == BudgetScope::Run);
        own.map(|budget| Arc::new(Ledger::new(budget))).chain(shared.map(|budget| self.of_run(run, budget))).collect()
    }

    /// The run's ledger. It counts what this process has seen, or what the log said at the dispatch, whichever is more: an
    /// attempt that has just ended may not be in the log yet, and one that another process carried out is nowhere else.
    fn of_run(&self, run: RunId, budget: &Budget) -> Arc<Ledger> {
        let mut ledgers = lock(&self.0);
        if ledgers.len() > IDLE_MAX {
            ledgers.retain(|_, ledger| Arc::strong_count(ledger) > 1);
        }
        let ledger = ledgers.entry(run).or_insert_with(|| Arc::new(Ledger::new(budget)));
        if budget.grants > ledger.grants {
            *ledger = Arc::new(Ledger::new(budget));
        }
        if budget.grants == ledger.grants {
            ledger.has_seen(&budget.spent);
        }
        ledger.clone()
    }
}

/// What one run, or one task, may consume, and has.
#[derive(Debug)]
pub(crate) struct Ledger {
    whose: &'static str,
    grants: u32,
    tokens: Option<u64>,
    cost_nanousd: Option<u64>,
    book: Mutex<Book>,
    /// Those that wait for what is under way, one after the other.
    turnstile: tokio::sync::Mutex<()>,
    settled: Notify,
}

#[derive(Debug, Default)]
struct Book {
    spent: Usage,
    reserved: Amount,
    under_way: u32,
}

/// Tokens and money.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amount {
    pub(crate) tokens: u64,
    pub(crate) cost_nanousd: u64,
}

impl Ledger {
    fn new(budget: &Budget) -> Self {
        Self {
            whose: match budget.scope {
                BudgetScope::Run => "run",
                BudgetScope::Task => "task",
            },
            grants: budget.grants,
            tokens: budget.tokens,
            cost_nanousd: budget.cost_nanousd,
            book: Mutex::new(Book { spent: budget.spent, ..Book::default() }),
            turnstile: tokio::sync::Mutex::default(),
            settled: Notify::new(),
        }
    }

    /// Does it count money? Then a model needs a price.
    pub(crate) const fn counts_cost(&self) -> bool {
        self.cost_nanousd.is_some()
    }

    fn has_seen(&self, spent: &Usage) {
        let mut book = lock(&self.book);
        if book.under_way == 0 && spent.total_tokens() >= book.spent.total_tokens() {
            book.spent = *spent;
        }
    }

    /// Waits until there is room for what a call could consume at most. Fails when there is nothing left.
    pub(crate) async fn reserve(self: &Arc<Self>, most: Amount) -> Result<Reservation, Exhausted> {
        let _turn = self.turnstile.lock().await;
        loop {
            let settled = self.settled.notified();
            if let Some(reservation) = self.try_reserve(most)? {
                return Ok(reservation);
            }
            settled.await;
        }
    }

    fn try_reserve(self: &Arc<Self>, most: Amount) -> Result<Option<Reservation>, Exhausted> {
        let mut book = lock(&self.book);
        let spent = Amount { tokens: book.spent.total_tokens(), cost_nanousd: book.spent.cost_nanousd };
        if self.tokens.is_some_and(|limit| spent.tokens >= limit) {
            let limit = self.tokens.unwrap_or_default();
            return Err(Exhausted::Tokens { whose: self.whose, limit, spent: spent.tokens });
        }
        if self.cost_nanousd.is_some_and(|limit| spent.cost_nanousd >= limit) {
            let limit = self.cost_nanousd.unwrap_or_default();
            let spent = dollars(spent.cost_nanousd);
            return Err(Exhausted::Cost { whose: self.whose, limit: dollars(limit), spent });
        }
        let fits = |limit: Option<u64>, of: fn(&Amount) -> u64| {
            let wanted = of(&spent).saturating_add(of(&book.reserved)).saturating_add(of(&most));
            limit.is_none_or(|limit| wanted <= limit)
        };
        if book.under_way > 0
            && !(fits(self.tokens, |amount| amount.tokens) && fits(self.cost_nanousd, |amount| amount.cost_nanousd))
        {
            return Ok(None);
        }
        book.under_way += 1;
        book.reserved.tokens += most.tokens;
        book.reserved.cost_nanousd += most.cost_nanousd;
        Ok(Some(Reservation { ledger: self.clone(), most, used: Usage::default() }))
    }
}

/// Why nothing more may be asked.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Exhausted {
    #[error("the {whose}'s budget of {limit} tokens is used up: {spent} were consumed")]
    Tokens { whose: &'static str, limit: u64, spent: u64 },
    #[error("the {whose}'s budget of {limit} USD is used up: {spent} USD were spent")]
    Cost { whose: &'static str, limit: f64, spent: f64 },
}

/// What a call may consume at most. Dropping it settles it.
#[derive(Debug)]
pub(crate) struct Reservation {
    ledger: Arc<Ledger>,
    most: Amount,
    used: Usage,
}

impl Reservation {
    /// What the call has consumed in truth.
    pub(crate) fn settle(&mut self, used: Usage) {
        self.used = used;
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut book = lock(&self.ledger.book);
        book.under_way -= 1;
        book.reserved.tokens -= self.most.tokens;
        book.reserved.cost_nanousd -= self.most.cost_nanousd;
        book.spent += self.used;
        drop(book);
        self.ledger.settled.notify_waiters();
    }
}

/// Billionths of a dollar as dollars.
pub(crate) fn dollars(nanousd: u64) -> f64 {
    nanousd as f64 / 1e9
}

/// No code panics while it holds one of these locks.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn tokens(count: u64) -> Amount {
        Amount { tokens: count, cost_nanousd: 0 }
    }

    fn used(count: u64) -> Usage {
        Usage { model_calls: 1, output_tokens: count, ..Usage::default() }
    }

    fn budget(limit: u64, spent: u64, grants: u32) -> Budget {
        Budget { scope: BudgetScope::Run, tokens: Some(limit), cost_nanousd: None, spent: used(spent), grants }
    }

    fn ledger(limit: u64) -> Arc<Ledger> {
        Arc::new(Ledger::new(&budget(limit, 0, 0)))
    }

    fn spent(ledger: &Ledger) -> u64 {
        lock(&ledger.book).spent.total_tokens()
    }

    #[tokio::test]
    async fn calls_go_side_by_side_as_long_as_all_of_them_fit() {
        let ledger = ledger(100);
        let mut first = ledger.reserve(tokens(40)).await.unwrap();
        let mut second = ledger.reserve(tokens(60)).await.unwrap();
        assert!(ledger.try_reserve(tokens(1)).unwrap().is_none());
        let third = tokio::spawn({
            let ledger = ledger.clone();
            async move { ledger.reserve(tokens(1_000)).await }
        });
        first.settle(used(30));
        drop(first);
        second.settle(used(50));
        drop(second);
        let mut third = third.await.unwrap().unwrap();
        third.settle(used(500));
        drop(third);
        let spent = Exhausted::Tokens { whose: "run", limit: 100, spent: 580 };
        assert_eq!(ledger.reserve(tokens(1)).await.unwrap_err(), spent, "overshot by the one call that went alone");
    }

    #[tokio::test]
    async fn what_is_given_up_is_free_again() {
        let ledger = ledger(10);
        drop(ledger.reserve(tokens(10)).await.unwrap());
        drop(ledger.reserve(tokens(10)).await.unwrap());
        assert_eq!(spent(&ledger), 0);
    }

    #[tokio::test]
    async fn what_the_log_knows_counts_and_nothing_twice() {
        let ledgers = Ledgers::default();
        let run = RunId::from_bytes([1; 16]);
        let of_run = |spent, grants| ledgers.of(run, &[budget(100, spent, grants)]).remove(0);
        let ledger = of_run(20, 0);
        let mut call = ledger.reserve(tokens(10)).await.unwrap();
        call.settle(used(10));
        drop(call);
        for (told, wanted) in [(20, 30), (30, 30), (90, 90), (100, 100)] {
            assert_eq!(spent(&of_run(told, 0)), wanted);
        }
        assert!(ledger.reserve(tokens(1)).await.is_err());
        assert_eq!(spent(&of_run(5, 1)), 5, "granted again");
        assert_eq!(spent(&of_run(100, 0)), 5, "dispatched before that");
    }
}
