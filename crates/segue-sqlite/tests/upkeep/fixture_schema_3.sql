-- A store of the third schema, as the program of then left it: a run that has ended, with large values; one that waits; one
-- whose engine was killed, and that another one cancelled.
BEGIN TRANSACTION;
CREATE TABLE blob_uses (
    run_no INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (run_no, hash)
) STRICT, WITHOUT ROWID;
INSERT INTO "blob_uses" VALUES(1,X'C4BCED9DF94E7C1E25E2EA656877DC084801D88B457A147A0FE5EF4F3BF9C56E');
INSERT INTO "blob_uses" VALUES(1,X'C7727ECA7A843E8B12A6C1B8326A20D1F672C23A6D5CE4CD929AB63979034540');
CREATE TABLE blobs (
    hash BLOB PRIMARY KEY,
    body BLOB NOT NULL
) STRICT;
INSERT INTO "blobs" VALUES(X'C7727ECA7A843E8B12A6C1B8326A20D1F672C23A6D5CE4CD929AB63979034540',CAST(CAST(X'22' AS TEXT) || replace(hex(zeroblob(35000)), '0', 'x') || CAST(X'22' AS TEXT) AS BLOB));
INSERT INTO "blobs" VALUES(X'C4BCED9DF94E7C1E25E2EA656877DC084801D88B457A147A0FE5EF4F3BF9C56E',CAST(CAST(X'7B2265616368223A5B7B7D2C7B7D2C7B7D5D2C22626967223A22' AS TEXT) || replace(hex(zeroblob(35000)), '0', 'x') || CAST(X'222C22626164223A6E756C6C7D' AS TEXT) AS BLOB));
CREATE TABLE buried (
    run_no INTEGER PRIMARY KEY
, run_id BLOB) STRICT;
CREATE TABLE cache (
    key TEXT PRIMARY KEY,
    blob BLOB,
    stored_at INTEGER NOT NULL,
    expires_at INTEGER,
    row TEXT NOT NULL,
    row_sum INTEGER NOT NULL
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
CREATE TABLE deployments (
    deploy_no INTEGER PRIMARY KEY,
    workflow_id TEXT NOT NULL,
    row TEXT NOT NULL,
    row_sum INTEGER NOT NULL
) STRICT;
CREATE TABLE engines (
    engine_id TEXT PRIMARY KEY,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_ticks INTEGER NOT NULL,
    lease_until_ms INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "engines" VALUES('01a20619-7498-703a-a21a-693a6d3b1772','85aac3eb-96b8-4038-8851-fdc63dbbb8c2 pid:[4026531836]',8562,3710378,1795398676284);
INSERT INTO "engines" VALUES('01a20619-7527-71f0-bc2a-35cec41f814f','85aac3eb-96b8-4038-8851-fdc63dbbb8c2 pid:[4026531836]',8612,3710393,1795398676415);
INSERT INTO "engines" VALUES('01a20619-7541-74ed-8067-97070239f304','85aac3eb-96b8-4038-8851-fdc63dbbb8c2 pid:[4026531836]',8621,3710395,1795398676441);
INSERT INTO "engines" VALUES('01a20619-7e50-7514-9a44-69fe79be1d91','85aac3eb-96b8-4038-8851-fdc63dbbb8c2 pid:[4026531836]',8638,3710626,1795398678760);
CREATE TABLE events (
    place INTEGER PRIMARY KEY,
    count INTEGER NOT NULL,
    body TEXT NOT NULL,
    chain BLOB NOT NULL
) STRICT;
INSERT INTO "events" VALUES(4294967297,5,'[{"seq":1,"time":"2026-11-23T01:51:01.285784Z","type":"run.created","data":{"workflow_hash":"380d74f80e83ce6c6191c009ab6243d35ead4e0ad13d1884049c07792f12b0e6","inputs":{},"base_dir":"/tmp/keepfix"}},{"seq":2,"time":"2026-11-23T01:51:01.285784Z","type":"run.started","data":{}},{"seq":3,"time":"2026-11-23T01:51:01.285784Z","task_id":"a","attempt":1,"type":"task.started","data":{}},{"seq":4,"time":"2026-11-23T01:51:01.285784Z","task_id":"big","attempt":1,"type":"task.started","data":{}},{"seq":5,"time":"2026-11-23T01:51:01.285784Z","task_id":"bad","attempt":1,"type":"task.started","data":{}}]',X'0325C73F8D70A6F4D0631FBB07B8945BEE2455769F9F4C44DE2A4592A1F2ABD7');
INSERT INTO "events" VALUES(4294967302,3,'[{"seq":6,"time":"2026-11-23T01:51:01.287176Z","task_id":"a","attempt":1,"type":"task.succeeded","data":{"output":{"n":1}}},{"seq":7,"time":"2026-11-23T01:51:01.287176Z","task_id":"each","type":"task.mapped","data":{"n":3}},{"seq":8,"time":"2026-11-23T01:51:01.287208Z","task_id":"each[0]","attempt":1,"type":"task.started","data":{}}]',X'FCD64996FDA9C059FB72345515F0337F5B9BFA07FF99664F857C6D787EBBBFF4');
INSERT INTO "events" VALUES(4294967305,2,'[{"seq":9,"time":"2026-11-23T01:51:01.289813Z","task_id":"each[0]","attempt":1,"type":"task.succeeded","data":{"output":{}}},{"seq":10,"time":"2026-11-23T01:51:01.289821Z","task_id":"each[1]","attempt":1,"type":"task.started","data":{}}]',X'4DB62E096D51548964A741765545400DC816E284FCCB10A57814E0981EC14843');
INSERT INTO "events" VALUES(4294967307,3,'[{"seq":11,"time":"2026-11-23T01:51:01.290787Z","task_id":"bad","attempt":1,"type":"task.failed","data":{"error":{"kind":"exit","message":"it ended with exit code 1","retryable":false,"detail":{"exit_code":1,"stderr_tail":""}},"continue_with":null}},{"seq":12,"time":"2026-11-23T01:51:01.290833Z","task_id":"each[1]","attempt":1,"type":"task.succeeded","data":{"output":{}}},{"seq":13,"time":"2026-11-23T01:51:01.290836Z","task_id":"each[2]","attempt":1,"type":"task.started","data":{}}]',X'E605B39DCB00FDD6109065D396FE269824E9412E45B99662AD3C34AFE3C5EA61');
INSERT INTO "events" VALUES(4294967310,2,'[{"seq":14,"time":"2026-11-23T01:51:01.291466Z","task_id":"each[2]","attempt":1,"type":"task.succeeded","data":{"output":{}}},{"seq":15,"time":"2026-11-23T01:51:01.291466Z","task_id":"each","type":"task.succeeded","data":{"output":[{},{},{}]}}]',X'68286658BA5E0BCA344779A393BC2FE61AE98C031AF10BFF9933956BFC08C05B');
INSERT INTO "events" VALUES(4294967312,2,'[{"seq":16,"time":"2026-11-23T01:51:01.389564Z","task_id":"big","attempt":1,"type":"task.succeeded","data":{"output":{"$blob":{"hash":"c7727eca7a843e8b12a6c1b8326a20d1f672c23a6d5ce4cd929ab63979034540","bytes":70002}}}},{"seq":17,"time":"2026-11-23T01:51:01.389564Z","type":"run.succeeded","data":{"outputs":{"$blob":{"hash":"c4bced9df94e7c1e25e2ea656877dc084801d88b457a147a0fe5ef4f3bf9c56e","bytes":70039}}}}]',X'D94B3AA564BB7CCCCBC16548D1D9848A27207A7E7EAE8E8FFD11B3C3EC0EDC64');
INSERT INTO "events" VALUES(8589934593,4,'[{"seq":1,"time":"2026-11-23T01:51:01.417601Z","type":"run.created","data":{"workflow_hash":"cd22d8ce271dca911e5c754f8d659d126935fb43771444f26e5583e6cfc91ec8","inputs":{},"base_dir":"/tmp/keepfix"}},{"seq":2,"time":"2026-11-23T01:51:01.417601Z","type":"run.started","data":{}},{"seq":3,"time":"2026-11-23T01:51:01.417601Z","task_id":"go","type":"task.waiting","data":{"kind":"approval","title":"Go?"}},{"seq":4,"time":"2026-11-23T01:51:01.417601Z","type":"run.waiting","data":{}}]',X'F344D5292976F93D859AF2E311D44FC2347657B4B0010BC5D5150B9E68C0F9EE');
INSERT INTO "events" VALUES(12884901889,3,'[{"seq":1,"time":"2026-11-23T01:51:01.443626Z","type":"run.created","data":{"workflow_hash":"e5bcad828b09e4382abd5b4984b68cb160fbd37076bd0edf16ee3bb778225001","inputs":{},"base_dir":"/tmp/keepfix"}},{"seq":2,"time":"2026-11-23T01:51:01.443626Z","type":"run.started","data":{}},{"seq":3,"time":"2026-11-23T01:51:01.443626Z","task_id":"a","attempt":1,"type":"task.started","data":{}}]',X'5E5059A1BD4BF10F2D19D98A185091EBD5A2B8EC0BA311016EBA12747AE77682');
INSERT INTO "events" VALUES(12884901892,2,'[{"seq":4,"time":"2026-11-23T01:51:01.444583Z","task_id":"a","attempt":1,"type":"task.succeeded","data":{"output":{}}},{"seq":5,"time":"2026-11-23T01:51:01.444594Z","task_id":"b","attempt":1,"type":"task.started","data":{}}]',X'E81063FCF885565263EBA5B674802ADCD6940E53C18B211879013149469928D2');
INSERT INTO "events" VALUES(12884901894,4,'[{"seq":6,"time":"2026-11-23T01:51:03.767244Z","task_id":"b","attempt":1,"type":"task.retrying","data":{"error":{"kind":"worker_lost","message":"its engine is gone","retryable":true},"due":"2026-11-23T01:51:03.767244Z","lost":"engine"}},{"seq":7,"time":"2026-11-23T01:51:03.767386Z","type":"run.cancelling","data":{"by":"request","reason":"cancelled with `segue runs cancel`"}},{"seq":8,"time":"2026-11-23T01:51:03.767386Z","task_id":"b","type":"task.cancelled","data":{}},{"seq":9,"time":"2026-11-23T01:51:03.767386Z","type":"run.cancelled","data":{"reason":"cancelled with `segue runs cancel`"}}]',X'2166DBDA923734F550C99025DC7992D5911B8D6C32F0EE381AF139C79736B8FB');
CREATE TABLE labels (
    run_id BLOB NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (run_id, name)
) STRICT, WITHOUT ROWID;
INSERT INTO "labels" VALUES(X'01A2061974A5702488325A24D99EDDEF','team','blue');
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
CREATE TABLE requests (
    request_id INTEGER PRIMARY KEY AUTOINCREMENT,
    run_no INTEGER NOT NULL,
    reopens INTEGER NOT NULL,
    kind TEXT NOT NULL
) STRICT;
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
, parent BLOB, ended_at INTEGER) STRICT;
INSERT INTO "runs" VALUES(1,X'01A2061974A5702488325A24D99EDDEF','flow',NULL,X'79489026D1E782677E240215E90552DDFC5C920DC105231DC874C26BA451D831',NULL,1,0,'SUCCEEDED',17,X'D94B3AA564BB7CCCCBC16548D1D9848A27207A7E7EAE8E8FFD11B3C3EC0EDC64','{"run_id":"01a20619-74a5-7024-8832-5a24d99eddef","workflow_id":"flow","workflow_hash":"380d74f80e83ce6c6191c009ab6243d35ead4e0ad13d1884049c07792f12b0e6","status":"SUCCEEDED","version":17,"created_at":"2026-11-23T01:51:01.285784Z","started_at":"2026-11-23T01:51:01.285784Z","finished_at":"2026-11-23T01:51:01.389564Z","usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0},"tasks_total":4,"tasks_done":4,"labels":{"team":"blue"}}',2122298570483165615,NULL,1795398661389564);
INSERT INTO "runs" VALUES(2,X'01A2061975297305AA82FF47018C4F41','ask',NULL,X'CA48FFA111F27F9BDBC7450474FFF0FF26AF843B0B6DA7E03762B41DB53A039C',NULL,1,1,'WAITING',4,X'F344D5292976F93D859AF2E311D44FC2347657B4B0010BC5D5150B9E68C0F9EE','{"run_id":"01a20619-7529-7305-aa82-ff47018c4f41","workflow_id":"ask","workflow_hash":"cd22d8ce271dca911e5c754f8d659d126935fb43771444f26e5583e6cfc91ec8","status":"WAITING","version":4,"created_at":"2026-11-23T01:51:01.417601Z","started_at":"2026-11-23T01:51:01.417601Z","usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0},"tasks_total":2,"tasks_done":0}',2127856228845031203,NULL,NULL);
INSERT INTO "runs" VALUES(3,X'01A2061975437047B1C16B0BD09BEF9A','slow',NULL,X'EEFB185494E83C8068ABA0BA0AB0194E489C6DC4D38BFA969A534FA4E30EAD67',NULL,2,0,'CANCELLED',9,X'2166DBDA923734F550C99025DC7992D5911B8D6C32F0EE381AF139C79736B8FB','{"run_id":"01a20619-7543-7047-b1c1-6b0bd09bef9a","workflow_id":"slow","workflow_hash":"e5bcad828b09e4382abd5b4984b68cb160fbd37076bd0edf16ee3bb778225001","status":"CANCELLED","version":9,"created_at":"2026-11-23T01:51:01.443626Z","started_at":"2026-11-23T01:51:01.443626Z","finished_at":"2026-11-23T01:51:03.767386Z","usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0},"tasks_total":2,"tasks_done":2}',4970300296621198156,NULL,1795398663767386);
CREATE TABLE tasks (
    place INTEGER PRIMARY KEY,
    run_no INTEGER NOT NULL,
    task_id TEXT NOT NULL,
    row TEXT NOT NULL,
    row_sum INTEGER NOT NULL
, waiting_since INTEGER) STRICT;
INSERT INTO "tasks" VALUES(4294967297,1,'a','{"task_id":"a","status":"SUCCEEDED","attempts":1,"started_at":"2026-11-23T01:51:01.285784Z","finished_at":"2026-11-23T01:51:01.287176Z","result_seq":6,"usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0}}',-9098076235663333578,NULL);
INSERT INTO "tasks" VALUES(4294967298,1,'big','{"task_id":"big","status":"SUCCEEDED","attempts":1,"started_at":"2026-11-23T01:51:01.285784Z","finished_at":"2026-11-23T01:51:01.389564Z","result_seq":16,"usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0}}',8392509683617790864,NULL);
INSERT INTO "tasks" VALUES(4294967299,1,'bad','{"task_id":"bad","status":"FAILED","attempts":1,"started_at":"2026-11-23T01:51:01.285784Z","finished_at":"2026-11-23T01:51:01.290787Z","result_seq":11,"usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0}}',6271957752309406807,NULL);
INSERT INTO "tasks" VALUES(4294967301,1,'each','{"task_id":"each","status":"SUCCEEDED","attempts":0,"started_at":"2026-11-23T01:51:01.287176Z","finished_at":"2026-11-23T01:51:01.291466Z","result_seq":15,"usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0}}',-6355057618199138731,NULL);
INSERT INTO "tasks" VALUES(4294967302,1,'each[0]','{"task_id":"each[0]","status":"SUCCEEDED","attempts":1,"started_at":"2026-11-23T01:51:01.287208Z","finished_at":"2026-11-23T01:51:01.289813Z","result_seq":9,"usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0}}',-6764618174794884258,NULL);
INSERT INTO "tasks" VALUES(4294967304,1,'each[1]','{"task_id":"each[1]","status":"SUCCEEDED","attempts":1,"started_at":"2026-11-23T01:51:01.289821Z","finished_at":"2026-11-23T01:51:01.290833Z","result_seq":12,"usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0}}',6270850552530263248,NULL);
INSERT INTO "tasks" VALUES(4294967307,1,'each[2]','{"task_id":"each[2]","status":"SUCCEEDED","attempts":1,"started_at":"2026-11-23T01:51:01.290836Z","finished_at":"2026-11-23T01:51:01.291466Z","result_seq":14,"usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0}}',5406972393141574176,NULL);
INSERT INTO "tasks" VALUES(8589934593,2,'go','{"task_id":"go","status":"WAITING","attempts":0,"started_at":"2026-11-23T01:51:01.417601Z","result_seq":3,"usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0}}',9207171021084868438,1795398661417601);
INSERT INTO "tasks" VALUES(12884901889,3,'a','{"task_id":"a","status":"SUCCEEDED","attempts":1,"started_at":"2026-11-23T01:51:01.443626Z","finished_at":"2026-11-23T01:51:01.444583Z","result_seq":4,"usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0}}',-737153872848791383,NULL);
INSERT INTO "tasks" VALUES(12884901891,3,'b','{"task_id":"b","status":"CANCELLED","attempts":1,"started_at":"2026-11-23T01:51:01.444594Z","finished_at":"2026-11-23T01:51:03.767386Z","result_seq":8,"usage":{"model_calls":0,"input_tokens":0,"output_tokens":0,"cached_input_tokens":0}}',-7594652923081572889,NULL);
CREATE TABLE workflows (
    hash BLOB PRIMARY KEY,
    workflow_id TEXT NOT NULL,
    spec_json TEXT NOT NULL
) STRICT;
INSERT INTO "workflows" VALUES(X'380D74F80E83CE6C6191C009AB6243D35EAD4E0AD13D1884049C07792F12B0E6','flow','{"id":"flow","nodes":[{"id":"a","task":"pass","inputs":{"n":1}},{"id":"each","task":"pass","depends_on":["a"],"foreach":"[1, 2, 3]"},{"id":"big","task":"process.run","inputs":{"argv":["python3","-c","print(''x'' * 70000)"]}},{"id":"bad","task":"process.run","inputs":{"argv":["false"]},"retry_policy":{"max_attempts":1},"on_failure":{"action":"continue"}}],"metadata":{"labels":{"team":"blue"}}}');
INSERT INTO "workflows" VALUES(X'CD22D8CE271DCA911E5C754F8D659D126935FB43771444F26E5583E6CFC91EC8','ask','{"id":"ask","nodes":[{"id":"go","approval":{"title":"Go?"}},{"id":"after","task":"pass","depends_on":["go"]}]}');
INSERT INTO "workflows" VALUES(X'E5BCAD828B09E4382ABD5B4984B68CB160FBD37076BD0EDF16EE3BB778225001','slow','{"id":"slow","nodes":[{"id":"a","task":"pass"},{"id":"b","task":"process.run","inputs":{"argv":["sleep","600"]},"depends_on":["a"]}]}');
CREATE UNIQUE INDEX runs_key ON runs (workflow_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
CREATE INDEX runs_open ON runs (owner) WHERE live = 1 OR owner IS NOT NULL;
CREATE UNIQUE INDEX tasks_by_id ON tasks (run_no, task_id);
CREATE INDEX requests_of_run ON requests (run_no);
CREATE INDEX requests_reopening ON requests (run_no) WHERE reopens = 1;
CREATE INDEX runs_by_status ON runs (status, run_id);
CREATE INDEX runs_by_workflow ON runs (workflow_id, run_id);
CREATE INDEX runs_by_parent ON runs (parent, run_id) WHERE parent IS NOT NULL;
CREATE INDEX runs_ended ON runs (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX labels_by_value ON labels (name, value, run_id);
CREATE INDEX tasks_waiting ON tasks (waiting_since) WHERE waiting_since IS NOT NULL;
CREATE INDEX tasks_waiting_of_run ON tasks (run_no, waiting_since) WHERE waiting_since IS NOT NULL;
CREATE INDEX blob_uses_by_hash ON blob_uses (hash);
CREATE INDEX deployments_of_workflow ON deployments (workflow_id, deploy_no);
CREATE INDEX cache_by_blob ON cache (blob) WHERE blob IS NOT NULL;
CREATE INDEX cache_expiring ON cache (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX cache_lasting ON cache (stored_at) WHERE expires_at IS NULL;
CREATE UNIQUE INDEX model_calls_by_name ON model_calls (run_no, call);
CREATE INDEX model_calls_of_attempt ON model_calls (run_no, effect_key, attempt);
DELETE FROM "sqlite_sequence";
INSERT INTO "sqlite_sequence" VALUES('requests',1);
COMMIT;
PRAGMA application_id = 1397049173;
PRAGMA user_version = 3;
