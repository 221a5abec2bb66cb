-- Named limits: what is used up of a minute, pauses, who waits. `state` is JSON; its times count from the machine's boot
-- `boot`, and from an earlier one nothing is left. A row that says nothing any more (`idle_from_ms`) is removed by others.
CREATE TABLE limits (
    key TEXT PRIMARY KEY,
    boot TEXT NOT NULL,
    idle_from_ms INTEGER NOT NULL,
    state TEXT NOT NULL,
    state_sum INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX limits_idle ON limits (idle_from_ms);

-- The slots that are held. One of an engine whose lease has ended is none, and is removed when somebody asks.
CREATE TABLE limit_slots (
    key TEXT NOT NULL,
    engine_id TEXT NOT NULL,
    slot TEXT NOT NULL,
    PRIMARY KEY (key, engine_id, slot)
) STRICT, WITHOUT ROWID;

CREATE INDEX limit_slots_of_engine ON limit_slots (engine_id);

-- Limits for which asking again may succeed; the last thousand. AUTOINCREMENT: "newer than" finds every new one.
CREATE TABLE limit_signals (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL
) STRICT;
