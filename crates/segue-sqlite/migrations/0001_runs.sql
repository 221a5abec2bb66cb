-- The first schema. A file of this program is known by its application id ("SEGU"); its schema's number is user_version.
PRAGMA application_id = 1397049173;

CREATE TABLE workflows (
    hash BLOB PRIMARY KEY,
    workflow_id TEXT NOT NULL,
    spec_json TEXT NOT NULL
) STRICT;

-- One row a run. `row` is the RunRow as JSON; what SQL needs of it stands beside it as columns.
CREATE TABLE runs (
    run_no INTEGER PRIMARY KEY,
    run_id BLOB NOT NULL UNIQUE,
    workflow_id TEXT NOT NULL,
    idempotency_key TEXT,
    request_hash BLOB NOT NULL,
    owner TEXT,
    fence INTEGER NOT NULL,
    live INTEGER NOT NULL,
    status TEXT NOT NULL,
    version INTEGER NOT NULL,
    chain BLOB NOT NULL,
    row TEXT NOT NULL,
    row_sum INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX runs_key ON runs (workflow_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- The runs that can be claimed, now or one day. A step of a run changes none of its columns.
CREATE INDEX runs_open ON runs (owner) WHERE live = 1 OR owner IS NOT NULL;

-- The log: one row a commit, its events as a JSON array. `place` is run_no * 2^32 + seq of the first one.
-- `chain` names this row and all before it: BLAKE3(chain before, BLAKE3(body)).
CREATE TABLE events (
    place INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    body TEXT NOT NULL,
    chain BLOB NOT NULL
) STRICT;

-- The TaskRows as JSON. `place` is run_no * 2^32 + the order of first change: the task that a step starts is written
-- behind the one that it finishes, so that a step touches few pages.
CREATE TABLE tasks (
    place INTEGER PRIMARY KEY,
    run_no INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    row TEXT NOT NULL,
    row_sum INTEGER NOT NULL
) STRICT;

CREATE UNIQUE INDEX tasks_by_id ON tasks (run_no, task_id);

-- Large values as JSON text, once each, under the BLAKE3 of the text.
CREATE TABLE blobs (
    hash BLOB PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;

CREATE TABLE engines (
    engine_id TEXT PRIMARY KEY,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_ticks INTEGER NOT NULL,
    lease_until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The inbox. AUTOINCREMENT: a number is never given twice, so "newer than" finds every new one.
CREATE TABLE requests (
    request_id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_no INTEGER NOT NULL,
    reopens INTEGER NOT NULL,
    kind TEXT NOT NULL
) STRICT;

CREATE INDEX requests_of_run ON requests (run_no);
CREATE INDEX requests_reopening ON requests (run_no) WHERE reopens = 1;
