-- Lists by what is rare, waiting tasks, deployments, cached results, and what deletion needs to know.

ALTER TABLE runs ADD COLUMN parent BLOB;
-- Microseconds since 1970; NULL while the run is live.
ALTER TABLE runs ADD COLUMN ended_at INTEGER;

UPDATE runs SET ended_at = CAST(round(unixepoch(row ->> '$.finished_at', 'subsec') * 1e6) AS INTEGER)
WHERE live = 0 AND json_valid(row);

-- A step of a run changes none of their columns, unless it changes the status.
CREATE INDEX runs_by_status ON runs (status, run_id);
CREATE INDEX runs_by_workflow ON runs (workflow_id, run_id);
CREATE INDEX runs_by_parent ON runs (parent, run_id) WHERE parent IS NOT NULL;
CREATE INDEX runs_ended ON runs (ended_at) WHERE ended_at IS NOT NULL;

CREATE TABLE labels (
    run_id BLOB NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;

CREATE INDEX labels_by_value ON labels (name, value, run_id);

-- Of a WAITING task: the time of its task.waiting, in microseconds since 1970. NULL for all others, which are thus in
-- neither index.
ALTER TABLE tasks ADD COLUMN waiting_since INTEGER;

CREATE INDEX tasks_waiting ON tasks (waiting_since) WHERE waiting_since IS NOT NULL;
CREATE INDEX tasks_waiting_of_run ON tasks (run_no, waiting_since) WHERE waiting_since IS NOT NULL;

-- Which runs' logs refer to which large values. A value is removed with the last one that refers to it.
CREATE TABLE blob_uses (
    run_no INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (run_no, hash)
) STRICT, WITHOUT ROWID;

CREATE INDEX blob_uses_by_hash ON blob_uses (hash);

-- What is no reference but looks like one costs a row, and keeps a value that somebody else refers to.
INSERT OR IGNORE INTO blob_uses
SELECT events.place >> 32, blobs.hash FROM events, json_tree(events.body) AS item, blobs
WHERE instr(events.body, '"$blob"') > 0 AND json_valid(events.body)
AND item.key = '$blob' AND blobs.hash = unhex(item.value ->> '$.hash');

-- Runs that were deleted, and whose log, rows and values are still being removed. Nothing of them can be seen.
CREATE TABLE buried (
    run_no INTEGER PRIMARY KEY
) STRICT;

-- One row a deployment, as JSON; the current one of a workflow has the greatest number.
CREATE TABLE deployments (
    deploy_no INTEGER PRIMARY KEY,
    workflow_id TEXT NOT NULL,
    row TEXT NOT NULL,
    row_sum INTEGER NOT NULL
) STRICT;

CREATE INDEX deployments_of_workflow ON deployments (workflow_id, deploy_no);

-- Results that stand in for others, as JSON; `blob` is the large value that one refers to. Times in microseconds since 1970.
CREATE TABLE cache (
    key TEXT PRIMARY KEY,
    blob BLOB,
    stored_at INTEGER NOT NULL,
    expires_at INTEGER,
    row TEXT NOT NULL,
    row_sum INTEGER NOT NULL
) STRICT;

CREATE INDEX cache_by_blob ON cache (blob) WHERE blob IS NOT NULL;
CREATE INDEX cache_expiring ON cache (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX cache_lasting ON cache (stored_at) WHERE expires_at IS NULL;
