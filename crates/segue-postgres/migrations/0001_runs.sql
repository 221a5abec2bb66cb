-- The first schema. Everything lies in a schema of its own (`segue`, unless another one was chosen), which is the search
-- path of the session that runs this. Texts from outside are kept as bytes or as JSON, so that no collation orders them
-- and no letter is refused; indexes hold hashes of them, so that no length is too long.

CREATE TABLE workflows (
    hash bytea PRIMARY KEY,
    workflow_id text COLLATE "C" NOT NULL,
    spec_json text NOT NULL
);

-- One row a run. `summary` is the RunRow as JSON with its checksum; what SQL needs of it stands beside it as columns.
-- `start_key` is the hash of (workflow id, idempotency key). The free room of a page takes the next steps of its runs.
CREATE TABLE runs (
    run_id uuid PRIMARY KEY,
    workflow_id text COLLATE "C" NOT NULL,
    start_key bytea UNIQUE,
    request_hash bytea NOT NULL,
    owner text COLLATE "C",
    fence bigint NOT NULL,
    live boolean NOT NULL,
    status text COLLATE "C" NOT NULL,
    version bigint NOT NULL,
    chain bytea NOT NULL,
    parent uuid,
    -- Microseconds since 1970; NULL while the run is live.
    ended_at bigint,
    summary text NOT NULL,
    sum bigint NOT NULL
) WITH (fillfactor = 60);

-- What can be claimed, oldest first, and what engines own. A step of a run changes no column of any index, unless it
-- changes the status.
CREATE INDEX runs_unowned ON runs (run_id) WHERE live AND owner IS NULL;
CREATE INDEX runs_owned ON runs (owner, run_id) WHERE owner IS NOT NULL;
CREATE INDEX runs_by_status ON runs (status, run_id);
CREATE INDEX runs_by_workflow ON runs (workflow_id, run_id);
CREATE INDEX runs_by_parent ON runs (parent, run_id) WHERE parent IS NOT NULL;
CREATE INDEX runs_ended ON runs (ended_at, run_id) WHERE ended_at IS NOT NULL;

-- `label` is the hash of (name, value).
CREATE TABLE labels (
    label bytea NOT NULL,
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    PRIMARY KEY (label, run_id)
);

CREATE INDEX labels_of_run ON labels (run_id);

-- The log: one row a commit, its events as a JSON array; `seq` is that of the first one. `chain` names this row and all
-- before it: BLAKE3(chain before, BLAKE3(body)).
CREATE TABLE events (
    run_id uuid NOT NULL,
    seq bigint NOT NULL,
    count integer NOT NULL,
    body text NOT NULL,
    chain bytea NOT NULL,
    PRIMARY KEY (run_id, seq)
);

-- The TaskRows as JSON. `since` (the version before the commit that first changed the task) and `place` (in that commit)
-- are the order of first change.
CREATE TABLE tasks (
    run_id uuid NOT NULL,
    task_id text COLLATE "C" NOT NULL,
    since bigint NOT NULL,
    place integer NOT NULL,
    -- Of a WAITING task: the time of its task.waiting, in microseconds since 1970, and its `seq`.
    waiting_since bigint,
    waiting_seq bigint,
    summary text NOT NULL,
    sum bigint NOT NULL,
    PRIMARY KEY (run_id, task_id)
) WITH (fillfactor = 80);

CREATE INDEX tasks_waiting ON tasks (waiting_since, run_id, since, place) WHERE waiting_since IS NOT NULL;
CREATE INDEX tasks_waiting_of_run ON tasks (run_id, waiting_since, since, place) WHERE waiting_since IS NOT NULL;

-- Large values as JSON text, once each, under the BLAKE3 of the text; and which runs' logs refer to them. A value is
-- removed with the last one that refers to it: the references keep others from removing it in between.
CREATE TABLE blobs (
    hash bytea PRIMARY KEY,
    body bytea NOT NULL
);

CREATE TABLE blob_uses (
    run_id uuid NOT NULL,
    hash bytea NOT NULL REFERENCES blobs,
    PRIMARY KEY (run_id, hash)
);

CREATE INDEX blob_uses_by_hash ON blob_uses (hash);

CREATE TABLE engines (
    engine_id text COLLATE "C" PRIMARY KEY,
    boot_id text NOT NULL,
    pid bigint NOT NULL,
    started_ticks bigint NOT NULL,
    lease_until timestamptz NOT NULL
);

CREATE TABLE requests (
    request_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    reopens boolean NOT NULL,
    kind text NOT NULL
);

CREATE INDEX requests_of_run ON requests (run_id, request_id);
CREATE INDEX requests_reopening ON requests (run_id) WHERE reopens;

-- One row a deployment, as JSON; the current one of a workflow has the greatest number.
CREATE TABLE deployments (
    deploy_no bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    workflow_id text COLLATE "C" NOT NULL,
    summary text NOT NULL,
    sum bigint NOT NULL
);

CREATE INDEX deployments_of_workflow ON deployments (workflow_id, deploy_no);

-- Results that stand in for others, as JSON, under the hash of their key; `blob` is the large value that one refers to.
-- Times in microseconds since 1970.
CREATE TABLE cache (
    key bytea PRIMARY KEY,
    blob bytea REFERENCES blobs,
    stored_at bigint NOT NULL,
    expires_at bigint,
    summary text NOT NULL,
    sum bigint NOT NULL
);

CREATE INDEX cache_by_blob ON cache (blob) WHERE blob IS NOT NULL;
CREATE INDEX cache_expiring ON cache (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX cache_lasting ON cache (stored_at) WHERE expires_at IS NULL;

-- What models answered. `call` names a call within its run, `effect` is the hash of the effect key; `summary` holds the
-- model, the content type and the usage as JSON, `body` the answer as it came.
CREATE TABLE model_calls (
    run_id uuid NOT NULL REFERENCES runs ON DELETE CASCADE,
    call bytea NOT NULL,
    effect bytea NOT NULL,
    attempt bigint NOT NULL,
    summary text NOT NULL,
    body bytea NOT NULL,
    sum bigint NOT NULL,
    PRIMARY KEY (run_id, call)
);

CREATE INDEX model_calls_of_attempt ON model_calls (run_id, effect, attempt);

-- The states of graphs. `thread` is `<run id>/<task id>`: what is deleted with a run has its id before the slash.
CREATE TABLE checkpoints (
    thread bytea NOT NULL,
    namespace bytea NOT NULL,
    id bytea NOT NULL,
    summary text NOT NULL,
    state bytea NOT NULL,
    sum bigint NOT NULL,
    PRIMARY KEY (thread, namespace, id)
);

CREATE TABLE checkpoint_writes (
    thread bytea NOT NULL,
    namespace bytea NOT NULL,
    id bytea NOT NULL,
    task_id bytea NOT NULL,
    place bigint NOT NULL,
    summary text NOT NULL,
    value bytea NOT NULL,
    sum bigint NOT NULL,
    PRIMARY KEY (thread, namespace, id, task_id, place)
);
