//! Tables and indexes, and what belongs to no run. Pages and files are the server's own to check: `amcheck`, and data
//! checksums.

use std::collections::BTreeMap;

use deadpool_postgres::Object;
use segue_core::{
    ids::ContentHash,
    ports::{Cached, Deployment, Finding, FindingKind, Findings, SchemaVersion},
    time::Timestamp,
};
use tokio_postgres::IsolationLevel;
use uuid::Uuid;

use super::told;
use crate::{
    encode,
    failure::{Failure, damaged},
    pool::Prepares,
    schema::MIGRATIONS,
    values,
};

/// Rows with a large value that are read at once.
const PAGE: i64 = 100;

pub(super) async fn verify(db: &mut Object, version: SchemaVersion, schema: &str) -> Result<Findings, Failure> {
    let moment = db.build_transaction().isolation_level(IsolationLevel::RepeatableRead).read_only(true).start().await?;
    // Whole tables are read here, and only here.
    moment.batch_execute("SET LOCAL enable_seqscan = on").await?;
    let mut findings = Findings::default();
    if version.is_current() {
        objects(&moment, schema, &mut findings).await?;
    } else {
        let what = format!("the schema is {}, this program works with {}", version.found, version.known);
        findings.push(Finding::new(FindingKind::Schema, what));
    }
    if findings.is_clean() {
        orphans(&moment, &mut findings).await?;
        workflows(&moment, &mut findings).await?;
        deployments(&moment, &mut findings).await?;
        cached(&moment, &mut findings).await?;
        leases(&moment, &mut findings).await?;
    }
    moment.commit().await?;
    Ok(findings)
}

/// Every table, index and constraint of the schema is there, and of use.
async fn objects(db: &impl Prepares, schema: &str, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT relname::text, relkind = 'i', coalesce(indisvalid AND indisready, true) FROM pg_class \
         JOIN pg_namespace ON pg_namespace.oid = relnamespace LEFT JOIN pg_index ON indexrelid = pg_class.oid \
         WHERE nspname = $1 AND relkind IN ('r', 'i')";
    const LOOSE: &str = "SELECT conname::text, conrelid::regclass::text FROM pg_constraint \
         JOIN pg_namespace ON pg_namespace.oid = connamespace WHERE nspname = $1 AND NOT convalidated";
    let mut there: BTreeMap<String, bool> = BTreeMap::new();
    for row in db.rows(SQL, &[&schema]).await? {
        there.insert(row.try_get(0)?, row.try_get(2)?);
    }
    for name in made() {
        let what = match there.get(name) {
            Some(true) => continue,
            Some(false) => format!("the index {name} is not valid: rebuild it with REINDEX INDEX \"{schema}\".{name}"),
            None => format!("the table or index {name} is missing"),
        };
        findings.push(Finding::new(FindingKind::Schema, what));
    }
    for row in db.rows(LOOSE, &[&schema]).await? {
        let (name, table): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        findings.push(Finding::new(FindingKind::Schema, format!("the constraint {name} of {table} is not checked")));
    }
    Ok(())
}

/// The names that the migrations make.
fn made() -> impl Iterator<Item = &'static str> {
    let lines = MIGRATIONS.iter().flat_map(|(_, text)| text.lines());
    lines.filter_map(|line| {
        let rest = ["CREATE TABLE ", "CREATE INDEX ", "CREATE UNIQUE INDEX "]
            .iter()
            .find_map(|made| line.strip_prefix(made))?;
        rest.split([' ', '(']).next()
    })
}

/// Rows of runs that are not there; the tables that foreign keys watch are left out.
async fn orphans(db: &impl Prepares, findings: &mut Findings) -> Result<(), Failure> {
    for table in ["events", "tasks", "blob_uses"] {
        let sql = format!(
            "SELECT DISTINCT run_id FROM {table} WHERE NOT EXISTS (SELECT 1 FROM runs WHERE runs.run_id = {table}.run_id)"
        );
        for row in db.rows(&sql, &[]).await? {
            let what = format!("the table {table} has rows of a run that is not there");
            findings.push(Finding::of(FindingKind::Orphan, encode::run_id(row.try_get::<_, Uuid>(0)?), what));
        }
    }
    for table in ["checkpoints", "checkpoint_writes"] {
        // A thread of a run begins with its id; those of another name belong to none.
        let sql = format!(
            "SELECT DISTINCT convert_from(substring(thread FROM 1 FOR 36), 'UTF8')::uuid FROM {table} \
             WHERE encode(substring(thread FROM 1 FOR 37), 'escape') ~ '^[0-9a-f]{{8}}(-[0-9a-f]{{4}}){{3}}-[0-9a-f]{{12}}/$' \
             AND NOT EXISTS (SELECT 1 FROM runs WHERE \
                 runs.run_id::text = encode(substring(thread FROM 1 FOR 36), 'escape'))"
        );
        for row in db.rows(&sql, &[]).await? {
            let what = format!("the table {table} has rows of a run that is not there");
            findings.push(Finding::of(FindingKind::Orphan, encode::run_id(row.try_get::<_, Uuid>(0)?), what));
        }
    }
    const UNUSED: &str = "SELECT hash, octet_length(body)::bigint FROM blobs \
         WHERE NOT EXISTS (SELECT 1 FROM blob_uses WHERE blob_uses.hash = blobs.hash) \
         AND NOT EXISTS (SELECT 1 FROM cache WHERE cache.blob = blobs.hash)";
    for row in db.rows(UNUSED, &[]).await? {
        let (hash, bytes): (&[u8], i64) = (row.try_get(0)?, row.try_get(1)?);
        let what = format!("value {} of {bytes} bytes is kept, and nothing reads it", encode::hash(hash));
        findings.push(Finding::new(FindingKind::Orphan, what));
    }
    Ok(())
}

async fn workflows(db: &impl Prepares, findings: &mut Findings) -> Result<(), Failure> {
    for row in db.rows("SELECT hash, workflow_id, spec_json FROM workflows", &[]).await? {
        let (hash, id, text): (&[u8], &str, &str) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let hash = encode::hash(hash);
        if ContentHash::of(text.as_bytes()) != hash {
            let what = format!("version {hash} of workflow {id} does not match its hash");
            findings.push(Finding::new(FindingKind::Workflow, what));
        }
    }
    Ok(())
}

async fn deployments(db: &impl Prepares, findings: &mut Findings) -> Result<(), Failure> {
    const KNOWN: &str = "SELECT 1 FROM workflows WHERE hash = $1";
    for row in db.rows("SELECT workflow_id, summary, sum FROM deployments", &[]).await? {
        let id: &str = row.try_get(0)?;
        let read = encode::summary::<Deployment>(id.as_bytes(), &row, || format!("a deployment of {id}"));
        let Some(kept) = told(findings, read, |why| Finding::new(FindingKind::Row, why))? else { continue };
        if db.rows(KNOWN, &[&kept.hash.as_bytes().as_slice()]).await?.is_empty() {
            let what = format!("version {} of workflow {id} is deployed, and missing", kept.hash);
            findings.push(Finding::new(FindingKind::Workflow, what));
        }
    }
    Ok(())
}

/// Cached results are sealed with their key, of which only the hash is kept: whoever asks for one checks it. Here it must be
/// one, and its large value must be what was written.
async fn cached(db: &impl Prepares, findings: &mut Findings) -> Result<(), Failure> {
    type Entry = (Cached, Option<Timestamp>);
    const SQL: &str = "SELECT key, summary FROM cache WHERE key > $1 ORDER BY key LIMIT $2";
    let mut after: Vec<u8> = Vec::new();
    loop {
        let page = db.rows(SQL, &[&after, &PAGE]).await?;
        for row in &page {
            after = row.try_get(0)?;
            let what = || format!("a cached result ({})", encode::hash(&after));
            let read = serde_json::from_str::<Entry>(row.try_get(1)?)
                .map_err(|error| damaged(what(), &format!("cannot be read: {error}")));
            if let Some((mut kept, _)) = told(findings, read, |why| Finding::new(FindingKind::Row, why))? {
                let loaded = values::load(db, &mut kept.output, &format!("the large value of {}", what())).await;
                told(findings, loaded, |why| Finding::new(FindingKind::Value, why))?;
            }
        }
        if page.len() < usize::try_from(PAGE).unwrap_or(0) {
            return Ok(());
        }
    }
}

/// Runs whose owner nobody knows.
async fn leases(db: &impl Prepares, findings: &mut Findings) -> Result<(), Failure> {
    const SQL: &str = "SELECT run_id, owner FROM runs WHERE owner IS NOT NULL \
         AND NOT EXISTS (SELECT 1 FROM engines WHERE engine_id = owner)";
    for row in db.rows(SQL, &[]).await? {
        let what = format!("it belongs to engine {}, which nobody knows", row.try_get::<_, &str>(1)?);
        findings.push(Finding::of(FindingKind::Lease, encode::run_id(row.try_get::<_, Uuid>(0)?), what));
    }
    Ok(())
}
