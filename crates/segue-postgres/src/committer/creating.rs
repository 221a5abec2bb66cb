//! A batch of new runs.

use std::collections::{HashMap, HashSet};

use segue_core::{
    ids::EngineId,
    ports::{Created, StoreError},
    seal,
};
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use super::{Answer, Known, Moved, Task, fails_alone, refuse};
use crate::{
    batch::{self, Columns, Hashes},
    encode,
    runs::Creation,
};

impl Task {
    /// Writes all of them and answers them.
    pub(super) async fn create(&mut self, mut jobs: Vec<(Creation, Answer<Created>)>) {
        loop {
            let moved = self.write_creations(&jobs).await;
            let moved = match moved {
                Err(failure) if jobs.len() > 1 && fails_alone(&failure) => {
                    for job in jobs {
                        Box::pin(self.create(vec![job])).await;
                    }
                    return;
                }
                Err(failure) => return refuse(jobs, failure, &self.pool),
                Ok(moved) => moved,
            };
            self.counters.batch(moved.len());
            let mut left = Vec::new();
            for (creation, answer) in jobs {
                let texts = &creation.texts;
                if moved.contains(&texts.run_id) {
                    let new = Known::new(0, seal::chain_start(texts.run_id));
                    self.known.insert(texts.run_id, new.after(texts));
                    // Nobody waits any more: it is done all the same.
                    let _ = answer.send(Ok(creation.created()));
                } else {
                    left.push((creation, answer));
                }
            }
            jobs = match self.explain_creations(left).await {
                left if left.is_empty() => return,
                left => left,
            };
        }
    }

    async fn write_creations(&self, jobs: &[(Creation, Answer<Created>)]) -> Moved {
        let mut columns = Columns::default();
        let mut new = New::default();
        for (creation, _) in jobs {
            let chain = creation.texts.chain_after(seal::chain_start(creation.texts.run_id));
            columns.push(&creation.texts, chain, |_| false);
            new.push(creation);
        }
        let mut values = columns.values();
        values.extend(new.values());
        if columns.are_plain() && new.labels.is_empty() {
            return self.execute(batch::CREATE.plain, &values).await;
        }
        values.extend(columns.large_values());
        values.extend(new.labels.values());
        self.execute(batch::CREATE.full, &values).await
    }

    /// Answers those that did not move. Gives back those whose reason is gone meanwhile: they are tried again.
    async fn explain_creations(&self, jobs: Vec<(Creation, Answer<Created>)>) -> Vec<(Creation, Answer<Created>)> {
        const SQL: &str =
            "SELECT run_id, start_key, request_hash FROM runs WHERE run_id = ANY($1) OR start_key = ANY($2)";
        if jobs.is_empty() {
            return jobs;
        }
        let ids: Vec<_> = jobs.iter().map(|(creation, _)| encode::uuid(creation.texts.run_id)).collect();
        let keys: Vec<Vec<u8>> = jobs
            .iter()
            .filter_map(|(creation, _)| creation.key.as_ref())
            .map(|(name, _)| name.as_bytes().to_vec())
            .collect();
        let rows = match self.ask(SQL, &[&ids, &keys]).await {
            Ok(rows) => rows,
            Err(failure) => {
                refuse(jobs, failure, &self.pool);
                return Vec::new();
            }
        };
        let mut by_key = HashMap::new();
        let mut there = HashSet::new();
        for row in &rows {
            let (run, key, request): (_, Option<&[u8]>, &[u8]) = (encode::run_id(row.get(0)), row.get(1), row.get(2));
            there.insert(run);
            if let Some(key) = key {
                by_key.insert(encode::hash(key), (run, encode::hash(request)));
            }
        }
        let mut left = Vec::new();
        for (creation, answer) in jobs {
            let run_id = creation.texts.run_id;
            let same = creation.key.as_ref().and_then(|(name, _)| by_key.get(name));
            let result = match same {
                Some((run, request)) => creation.existing(*run, *request),
                None if there.contains(&run_id) => Err(StoreError::Conflict { run_id }),
                None => match self.missing_value(&creation.texts).await {
                    Ok(Some(missing)) => Err(missing),
                    Ok(None) => {
                        left.push((creation, answer));
                        continue;
                    }
                    Err(failure) => Err(failure.explain(self.pool.shown())),
                },
            };
            let _ = answer.send(result);
        }
        left
    }
}

/// The columns that only new runs have.
#[derive(Default)]
struct New<'t> {
    workflow_id: Vec<&'t str>,
    start_key: Vec<Option<Vec<u8>>>,
    request_hash: Vec<Vec<u8>>,
    owner: Vec<Option<&'t str>>,
    fence: Vec<i64>,
    parent: Vec<Option<Uuid>>,
    labels: Hashes,
}

impl<'t> New<'t> {
    fn push(&mut self, creation: &'t Creation) {
        self.workflow_id.push(&creation.workflow_id);
        self.start_key.push(creation.key.as_ref().map(|(name, _)| name.as_bytes().to_vec()));
        self.request_hash.push(creation.request_hash.as_bytes().to_vec());
        self.owner.push(creation.owner.as_ref().map(EngineId::as_str));
        self.fence.push(encode::number(creation.fence()));
        self.parent.push(creation.parent.map(encode::uuid));
        creation.labels.iter().for_each(|label| self.labels.push(creation.texts.run_id, *label));
    }

    fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        vec![&self.workflow_id, &self.start_key, &self.request_hash, &self.owner, &self.fence, &self.parent]
    }
}
