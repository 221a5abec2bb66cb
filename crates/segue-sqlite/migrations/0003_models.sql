-- What models answered, and the states of graphs: kept with their run, so that what follows a crash goes on from there.

-- `place` is run_no * 2^32 + the order of recording. `call` names a call within its run: the hash of (effect key, first
-- attempt that shares it, request, how often before). `usage` is JSON; `body` is the answer as it came.
CREATE TABLE model_calls (
    place INTEGER PRIMARY KEY,
    run_no INTEGER NOT NULL,
    call BLOB NOT NULL,
    effect_key TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    model TEXT NOT NULL,
    content_type TEXT NOT NULL,
    usage TEXT NOT NULL,
    sum INTEGER NOT NULL,
    body BLOB NOT NULL
) STRICT;

CREATE UNIQUE INDEX model_calls_by_name ON model_calls (run_no, call);
CREATE INDEX model_calls_of_attempt ON model_calls (run_no, effect_key, attempt);

-- What is being deleted is known by its id too: checkpoints are kept under it.
ALTER TABLE buried ADD COLUMN run_id BLOB;

-- `thread` is `<run id>/<task id>`: what is deleted with a run has its id before the slash. Metadata is JSON.
CREATE TABLE checkpoints (
    thread TEXT NOT NULL,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    parent TEXT,
    kind TEXT NOT NULL,
    state BLOB NOT NULL,
    metadata TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (thread, namespace, id)
) STRICT;

CREATE TABLE checkpoint_writes (
    thread TEXT NOT NULL,
    namespace TEXT NOT NULL,
    id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    place INTEGER NOT NULL,
    task_path TEXT NOT NULL,
    channel TEXT NOT NULL,
    kind TEXT NOT NULL,
    value BLOB NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (thread, namespace, id, task_id, place)
) STRICT;
