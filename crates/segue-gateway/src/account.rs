//! Attempts as callers: their keys, what each has consumed, and what it was answered.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use segue_core::{
    ids::ContentHash,
    outcome::{TaskError, Usage},
    ports::{CallKey, ProgressSink},
};
use tokio_util::sync::CancellationToken;

use crate::{budget::Ledger, upstream::Caller};

/// Doubtful calls that are remembered.
const DOUBTFUL_MAX: usize = 10_000;

/// One attempt.
pub(crate) struct Account {
    /// In the logs.
    pub(crate) name: String,
    pub(crate) caller: Caller,
    /// The first attempt whose answers may be given to this one.
    pub(crate) since: u32,
    pub(crate) rehearsal: bool,
    pub(crate) progress: Arc<dyn ProgressSink>,
    /// Of its budgets, the narrowest first.
    pub(crate) ledgers: Vec<Arc<Ledger>>,
    /// Cancelled when the attempt is no longer wanted, or over.
    pub(crate) ended: CancellationToken,
    book: Mutex<Book>,
}

#[derive(Default)]
struct Book {
    usage: Usage,
    refusal: Option<TaskError>,
    trouble: Option<String>,
    /// The call that was answered last.
    last: Option<CallKey>,
    /// For each request: which of its repetitions are answered, or being answered.
    answered: HashMap<ContentHash, BTreeSet<u32>>,
}

/// Who an account is for.
pub(crate) struct Holder {
    pub(crate) name: String,
    pub(crate) caller: Caller,
    pub(crate) since: u32,
    pub(crate) rehearsal: bool,
    pub(crate) progress: Arc<dyn ProgressSink>,
    pub(crate) ledgers: Vec<Arc<Ledger>>,
}

impl Account {
    pub(crate) fn new(holder: Holder) -> Self {
        let Holder { name, caller, since, rehearsal, progress, ledgers } = holder;
        let ended = CancellationToken::new();
        Self { name, caller, since, rehearsal, progress, ledgers, ended, book: Mutex::default() }
    }

    /// What it has consumed.
    pub(crate) fn usage(&self) -> Usage {
        self.book().usage
    }

    pub(crate) fn add(&self, usage: Usage) {
        self.book().usage += usage;
    }

    /// Why its last call was refused here, if it was.
    pub(crate) fn refusal(&self) -> Option<TaskError> {
        self.book().refusal.clone()
    }

    /// What was wrong with the provider at its last call.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.book().trouble.clone()
    }

    /// The call that it was answered last.
    pub(crate) fn last_answered(&self) -> Option<CallKey> {
        self.book().last.clone()
    }

    pub(crate) fn was_refused(&self, why: TaskError) {
        self.book().refusal = Some(why);
    }

    pub(crate) fn had_trouble(&self, what: String) {
        let mut book = self.book();
        (book.refusal, book.trouble) = (None, Some(what));
    }

    /// A provider has answered, whatever it said.
    pub(crate) fn was_answered(&self) {
        let mut book = self.book();
        (book.refusal, book.trouble) = (None, None);
    }

    /// Names a call: the first repetition of this request that is not answered yet. A call that is not answered gives its
    /// name back, for the next one that asks the same.
    pub(crate) fn place(self: &Arc<Self>, hash: ContentHash) -> Place {
        let mut book = self.book();
        let taken = book.answered.entry(hash).or_default();
        let nth = (0..).find(|nth| !taken.contains(nth)).expect("there is always a next number");
        taken.insert(nth);
        drop(book);
        let key = CallKey {
            run_id: self.caller.run_id,
            effect_key: self.caller.effect_key.clone(),
            since: self.since,
            hash,
            nth,
        };
        Place { account: self.clone(), key, is_answered: false }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }
}

/// The name of a call under way.
pub(crate) struct Place {
    account: Arc<Account>,
    key: CallKey,
    is_answered: bool,
}

impl Place {
    pub(crate) const fn key(&self) -> &CallKey {
        &self.key
    }

    /// The call is answered in full.
    pub(crate) fn keep(&mut self) {
        self.is_answered = true;
        self.account.book().last = Some(self.key.clone());
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_answered
            && let Some(taken) = self.account.book().answered.get_mut(&self.key.hash)
        {
            taken.remove(&self.key.nth);
        }
    }
}

/// The accounts of the attempts under way, by their keys.
#[derive(Default)]
pub(crate) struct Accounts {
    live: Mutex<HashMap<String, Arc<Account>>>,
    total: Mutex<Usage>,
    /// Calls whose answers are not given again, although the failure after them does not say so.
    doubtful: Mutex<HashSet<CallKey>>,
}

impl Accounts {
    /// Makes a new key for an attempt.
    pub(crate) fn issue(self: &Arc<Self>, account: Arc<Account>) -> Key {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        let secret = bytes.iter().fold(String::from("segue-"), |text, byte| text + &format!("{byte:02x}"));
        lock(&self.live).insert(secret.clone(), account.clone());
        Key { secret, account, accounts: self.clone() }
    }

    /// Whose key is this? `None`: nobody's, or of an attempt that is over.
    pub(crate) fn of(&self, secret: &str) -> Option<Arc<Account>> {
        lock(&self.live).get(secret).filter(|account| !account.ended.is_cancelled()).cloned()
    }

    /// May this call's answer be given again, as far as this process knows?
    pub(crate) fn is_doubtful(&self, key: &CallKey) -> bool {
        lock(&self.doubtful).contains(key)
    }

    /// Books what one call consumed.
    pub(crate) fn book(&self, account: &Account, usage: Usage) {
        account.add(usage);
        *lock(&self.total) += usage;
    }

    /// What all attempts have consumed, those that are over included.
    pub(crate) fn total(&self) -> Usage {
        *lock(&self.total)
    }
}

/// The right of one attempt to call. Ends when this is dropped.
pub(crate) struct Key {
    secret: String,
    account: Arc<Account>,
    accounts: Arc<Accounts>,
}

impl Key {
    /// The text to send as `Authorization: Bearer …`. Never log it.
    pub(crate) fn secret(&self) -> &str {
        &self.secret
    }

    /// The attempt failed right after its last answer, with nothing wrong on the way to a model: the answer may be why, and
    /// to give it again would make the next attempt fail alike.
    pub(crate) fn doubt_last_answer(&self) {
        let Some(last) = self.account.last_answered() else { return };
        let mut doubtful = lock(&self.accounts.doubtful);
        if doubtful.len() >= DOUBTFUL_MAX {
            doubtful.clear();
        }
        doubtful.insert(last);
    }

    pub(crate) const fn account(&self) -> &Arc<Account> {
        &self.account
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        lock(&self.accounts.live).remove(&self.secret);
        self.account.ended.cancel();
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("attempt", &self.account.name).finish_non_exhaustive()
    }
}

/// No code panics while it holds one of these locks, and every value in them is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use segue_core::{ids::RunId, ports::Progress};

    use super::*;

    struct Nobody;
    impl ProgressSink for Nobody {
        fn emit(&self, _: Progress) {}
    }

    fn account(name: &str) -> Arc<Account> {
        Arc::new(Account::new(Holder {
            name: name.to_owned(),
            caller: Caller {
                run_id: RunId::from_bytes([7; 16]),
                task: "a".into(),
                effect_key: "run/a".to_owned(),
                attempt: 1,
            },
            since: 1,
            rehearsal: true,
            progress: Arc::new(Nobody),
            ledgers: Vec::new(),
        }))
    }

    #[test]
    fn a_key_ends_with_its_owner_and_its_usage_stays_in_the_total() {
        let accounts = Arc::new(Accounts::default());
        let first = accounts.issue(account("run/a@1"));
        let second = accounts.issue(account("run/b@1"));
        assert_ne!(first.secret(), second.secret());
        let found = accounts.of(first.secret()).expect("a live key");
        assert_eq!(found.name, "run/a@1");
        accounts.book(&found, Usage { model_calls: 1, input_tokens: 3, output_tokens: 4, ..Usage::default() });
        assert_eq!(first.account().usage().total_tokens(), 7);
        assert!(second.account().usage().is_zero());

        let secret = first.secret().to_owned();
        drop(first);
        assert!(accounts.of(&secret).is_none() && found.ended.is_cancelled());
        assert!(accounts.of(second.secret()).is_some());
        assert_eq!(accounts.total().total_tokens(), 7);
    }

    #[test]
    fn a_key_does_not_show_its_secret() {
        let key = Arc::new(Accounts::default()).issue(account("run/a@1"));
        assert!(!format!("{key:?}").contains(key.secret()));
    }

    #[test]
    fn a_call_that_was_not_answered_gives_its_name_to_the_next() {
        let account = account("run/a@1");
        let hash = ContentHash::of(b"a request");
        let mut first = account.place(hash);
        let second = account.place(hash);
        assert_eq!((first.key().nth, second.key().nth), (0, 1));
        assert_eq!(account.place(ContentHash::of(b"another")).key().nth, 0);
        first.keep();
        drop((first, second));
        assert_eq!(account.place(hash).key().nth, 1);
    }
}
