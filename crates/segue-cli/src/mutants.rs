//! A bug on purpose in the whole program, for the fault harness. Nothing that ships has the feature `mutants`.

use crate::failure::{Failure, Outcome};

/// Plants the bug that `SEGUE_MUTANT` names.
pub(crate) fn plant() -> Outcome<()> {
    let Ok(name) = std::env::var("SEGUE_MUTANT") else { return Ok(()) };
    let is_planted = segue_engine::mutants::plant_everywhere(&name)
        || segue_sqlite::mutants::plant_everywhere(&name)
        || segue_postgres::mutants::plant_everywhere(&name);
    match is_planted {
        true => Ok(()),
        false => Err(Failure::usage(format!("SEGUE_MUTANT names no bug that can be planted: {name}"))),
    }
}
