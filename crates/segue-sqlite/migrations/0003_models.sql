-- What models answered, and the states of graphs: kept with their run, so that what follows a crash goes on from there.

-- `call` names a call within its run: the hash of (effect key, first attempt that shares it, request, how often before).
-- `usage` is JSON. The answer itself, `body`, is compressed by nobody: providers' answers are small.
CREATE TABLE model_calls (
    run_no INTEGER NOT NULL,
    call BLOB NOT NULL,
    effect_key TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    model TEXT NOT NULL,
    content_type TEXT NOT NULL,
    body BLOB NOT NULL,
    usage TEXT NOT NULL,
    sum INTEGER NOT NULL,
    PRIMARY KEY (run_no, call)
) STRICT, WITHOUT ROWID;

CREATE INDEX model_calls_of_attempt ON model_calls (run_no, effect_key, attempt);

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
