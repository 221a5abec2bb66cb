//! A batch of steps of live runs.

use std::collections::HashSet;

use segue_core::{ids::RunId, ports::StoreError};
use tokio_postgres::types::ToSql;

use super::{Answer, Known, Moved, Task, fails_alone, refuse};
use crate::{
    batch::{self, Columns},
    encode,
    failure::Failure,
    runs::Step,
    texts::Texts,
};

impl Task {
    /// Writes all of them and answers them.
    pub(super) async fn commit(&mut self, jobs: Vec<(Step, Answer<()>)>) {
        let moved = match self.write_steps(&jobs).await {
            Err(failure) => {
                for (step, _) in &jobs {
                    self.known.remove(&step.texts.run_id);
                }
                if jobs.len() > 1 && fails_alone(&failure) {
                    for job in jobs {
                        Box::pin(self.commit(vec![job])).await;
                    }
                    return;
                }
                return refuse(jobs, failure, &self.pool);
            }
            Ok(moved) => moved,
        };
        self.counters.batch(moved.len());
        for (step, answer) in jobs {
            let texts = &step.texts;
            let result = if moved.contains(&texts.run_id) {
                self.note(texts);
                Ok(())
            } else {
                self.known.remove(&texts.run_id);
                self.explain_step(&step).await
            };
            // Nobody waits any more: it is done all the same.
            let _ = answer.send(result);
        }
    }

    /// After a step that was written.
    fn note(&mut self, texts: &Texts) {
        match self.known.remove(&texts.run_id) {
            Some(known) if !texts.status.is_terminal() => {
                self.known.insert(texts.run_id, known.after(texts));
            }
            _ => {}
        }
    }

    async fn write_steps(&mut self, jobs: &[(Step, Answer<()>)]) -> Moved {
        self.learn(jobs).await?;
        let mut columns = Columns::default();
        let (mut fences, mut before) = (Vec::new(), Vec::new());
        let (mut answered_of, mut answered) = (Vec::new(), Vec::new());
        for (step, _) in jobs {
            let run = step.texts.run_id;
            // Of a run that is not there, or at another version, nothing is written.
            let Some(known) = self.known.get(&run) else { continue };
            if known.version != step.texts.since {
                continue;
            }
            columns.push(&step.texts, step.texts.chain_after(known.chain), |value| known.refers_to(value));
            fences.push(encode::number(step.fence));
            before.push(known.chain.as_bytes().to_vec());
            for request in &step.answered {
                answered_of.push(encode::uuid(run));
                answered.push(request.0);
            }
        }
        if fences.is_empty() {
            return Ok(HashSet::new());
        }
        let mut values = columns.values();
        values.extend::<[&(dyn ToSql + Sync); 2]>([&fences, &before]);
        if columns.are_plain() && answered.is_empty() {
            return self.execute(batch::COMMIT.plain, &values).await;
        }
        values.extend(columns.large_values());
        values.extend::<[&(dyn ToSql + Sync); 2]>([&answered_of, &answered]);
        self.execute(batch::COMMIT.full, &values).await
    }

    /// Asks for the ends of those chains that are not known, or known for another version.
    async fn learn(&mut self, jobs: &[(Step, Answer<()>)]) -> Result<(), Failure> {
        const SQL: &str = "SELECT run_id, version, chain FROM runs WHERE run_id = ANY($1)";
        let texts = jobs.iter().map(|(step, _)| &step.texts);
        let is_known = |run: RunId, version: u64| self.known.get(&run).is_some_and(|known| known.version == version);
        let unknown: Vec<_> =
            texts.filter(|texts| !is_known(texts.run_id, texts.since)).map(|texts| texts.run_id).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        for row in self.ask(SQL, &[&encode::uuids(&unknown)]).await? {
            let chain = encode::hash(row.get::<_, &[u8]>(2));
            self.known.insert(encode::run_id(row.get(0)), Known::new(encode::count(row.get(1)), chain));
        }
        Ok(())
    }

    /// Why a step was not written.
    async fn explain_step(&self, step: &Step) -> Result<(), StoreError> {
        const SQL: &str = "SELECT version, fence, owner IS NOT NULL FROM runs WHERE run_id = $1";
        let texts = &step.texts;
        let run_id = texts.run_id;
        let explain = |failure: Failure| failure.explain(self.pool.shown());
        let rows = self.ask(SQL, &[&encode::uuid(run_id)]).await.map_err(explain)?;
        let Some(row) = rows.first() else { return Err(StoreError::NotFound(format!("run {run_id}"))) };
        let may = encode::count(row.get(0)) == texts.since && encode::count(row.get(1)) == step.fence && row.get(2);
        let missing = if may { self.missing_value(texts).await.map_err(explain)? } else { None };
        Err(missing.unwrap_or(StoreError::Conflict { run_id }))
    }
}
