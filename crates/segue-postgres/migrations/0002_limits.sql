-- Named limits: what is used up of a minute, pauses, who waits. `state` is JSON with its checksum; times are this
-- database's. A row that says nothing any more (`idle_from`, microseconds since 1970) is removed by others.
CREATE TABLE limits (
    key text COLLATE "C" PRIMARY KEY,
    state text NOT NULL,
    sum bigint NOT NULL,
    idle_from bigint NOT NULL
);

CREATE INDEX limits_idle ON limits (idle_from);

-- The slots that are held. One of an engine whose lease has ended is none, and is removed when somebody asks.
CREATE TABLE limit_slots (
    key text COLLATE "C" NOT NULL,
    engine_id text COLLATE "C" NOT NULL,
    slot text COLLATE "C" NOT NULL,
    PRIMARY KEY (key, engine_id, slot)
);

CREATE INDEX limit_slots_of_engine ON limit_slots (engine_id);
