//! Tokens of attempts: who may call the gateway, and what each has consumed.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use segue_core::outcome::Usage;

/// What one attempt is known by, and what it has consumed.
#[derive(Debug)]
pub(crate) struct Account {
    attempt: String,
    usage: Mutex<Usage>,
}

impl Account {
    /// The name that the attempt was issued its token for.
    pub(crate) fn attempt(&self) -> &str {
        &self.attempt
    }
}

/// The tokens that are good now.
#[derive(Default)]
pub(crate) struct Tokens {
    live: Mutex<HashMap<String, Arc<Account>>>,
    total: Mutex<Usage>,
}

impl Tokens {
    /// Makes a new token for an attempt.
    pub(crate) fn issue(self: &Arc<Self>, attempt: &str) -> AttemptToken {
        let mut bytes = [0_u8; 32];
        getrandom::fill(&mut bytes).expect("the operating system gives random bytes");
        let secret = bytes.iter().fold(String::from("segue-"), |text, byte| text + &format!("{byte:02x}"));
        let account = Arc::new(Account { attempt: attempt.to_owned(), usage: Mutex::default() });
        lock(&self.live).insert(secret.clone(), account.clone());
        AttemptToken { secret, account, tokens: self.clone() }
    }

    /// Whose token is this? `None`: nobody's, or of an attempt that is over.
    pub(crate) fn account(&self, secret: &str) -> Option<Arc<Account>> {
        lock(&self.live).get(secret).cloned()
    }

    /// Books what one call consumed.
    pub(crate) fn book(&self, account: &Account, usage: Usage) {
        *lock(&account.usage) += usage;
        *lock(&self.total) += usage;
    }

    /// What all attempts have consumed, those that are over included.
    pub(crate) fn total(&self) -> Usage {
        *lock(&self.total)
    }
}

/// The right of one attempt to call the gateway. Ends when this is dropped.
pub struct AttemptToken {
    secret: String,
    account: Arc<Account>,
    tokens: Arc<Tokens>,
}

impl AttemptToken {
    /// The text to send as `Authorization: Bearer …`, that is, as the API key. Never log it.
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// What the attempt has consumed so far.
    pub fn usage(&self) -> Usage {
        *lock(&self.account.usage)
    }
}

impl Drop for AttemptToken {
    fn drop(&mut self) {
        lock(&self.tokens.live).remove(&self.secret);
    }
}

impl fmt::Debug for AttemptToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttemptToken").field("attempt", &self.account.attempt).finish_non_exhaustive()
    }
}

/// No code panics while it holds one of these locks, and every value in them is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_ends_with_its_owner_and_its_usage_stays_in_the_total() {
        let tokens = Arc::new(Tokens::default());
        let first = tokens.issue("run/a@1");
        let second = tokens.issue("run/b@1");
        assert_ne!(first.secret(), second.secret());
        let account = tokens.account(first.secret()).expect("a live token");
        assert_eq!(account.attempt(), "run/a@1");
        tokens.book(&account, Usage { model_calls: 1, input_tokens: 3, output_tokens: 4, ..Usage::default() });
        assert_eq!(first.usage().total_tokens(), 7);
        assert!(second.usage().is_zero());

        let secret = first.secret().to_owned();
        drop(first);
        assert!(tokens.account(&secret).is_none());
        assert!(tokens.account(second.secret()).is_some());
        assert_eq!(tokens.total().total_tokens(), 7);
    }

    #[test]
    fn a_token_does_not_show_its_secret() {
        let token = Arc::new(Tokens::default()).issue("run/a@1");
        assert!(!format!("{token:?}").contains(token.secret()));
    }
}
