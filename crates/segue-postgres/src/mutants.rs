//! Bugs that are planted in the statements, so that the tests can show that they would see them. Only with the feature
//! `mutants`; no program is built with it.

use std::{
    borrow::Cow,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

/// In every statement, `from` is written as `to`.
#[derive(Debug, Clone, Copy)]
pub struct Mutant {
    /// What the bug is.
    pub name: &'static str,
    /// The right text.
    pub from: &'static str,
    /// The wrong one.
    pub to: &'static str,
}

/// Those that the fault harness plants in the whole program.
const OF_PROGRAM: [Mutant; 1] = [Mutant {
    name: "ClaimsFromTheLiving",
    from: "engine_id = owner AND lease_until > clock_timestamp()",
    to: "engine_id = owner AND lease_until < clock_timestamp()",
}];

/// Plants the bug of this name in all stores of this process. `false` if there is none of this name.
pub fn plant_everywhere(name: &str) -> bool {
    let named = OF_PROGRAM.into_iter().find(|mutant| mutant.name == name);
    named.map(|mutant| plant(Some(mutant))).is_some()
}

static PLANTED: Mutex<Option<Mutant>> = Mutex::new(None);
static APPLIED: AtomicU64 = AtomicU64::new(0);

/// Plants a bug in all stores of this process, or none any more. Gives how many statements the one before it has changed.
pub fn plant(mutant: Option<Mutant>) -> u64 {
    *PLANTED.lock().unwrap_or_else(PoisonError::into_inner) = mutant;
    APPLIED.swap(0, Relaxed)
}

/// The statement as it is to be run.
pub(crate) fn doctored(sql: &str) -> Cow<'_, str> {
    let planted = PLANTED.lock().unwrap_or_else(PoisonError::into_inner);
    match *planted {
        Some(Mutant { from, to, .. }) if sql.contains(from) => {
            APPLIED.fetch_add(1, Relaxed);
            sql.replace(from, to).into()
        }
        _ => sql.into(),
    }
}
