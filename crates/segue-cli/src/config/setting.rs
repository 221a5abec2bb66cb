//! The table of settings.

/// One setting: its key in `segue.toml`, its variable (`SEGUE_` and the key in capitals), its default.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) key: &'static str,
    pub(crate) kind: Kind,
    pub(crate) default: &'static str,
    pub(crate) about: &'static str,
}

/// What a setting's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Any text.
    Text,
    /// A number that is not negative.
    Number,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Setting {
    /// The environment variable that stands for it.
    pub(crate) fn variable(&self) -> String {
        format!("SEGUE_{}", self.key.to_uppercase())
    }
}

/// Every setting there is.
pub(crate) const SETTINGS: &[Setting] = &[
    Setting {
        key: "store",
        kind: Kind::Text,
        default: "sqlite:.segue/segue.db",
        about: "Where runs are kept: sqlite:PATH, postgres://USER@HOST/DATABASE (for engines on several machines) or memory: (gone with the process).",
    },
    Setting {
        key: "store_password_file",
        kind: Kind::Text,
        default: "",
        about: "A file that holds the password of the store's database, so that it stands in no address. Without it: the variable PGPASSWORD.",
    },
    Setting {
        key: "bus",
        kind: Kind::Text,
        default: "auto",
        about: "Where events are published for who watches from other processes: redis://HOST:PORT, postgres: (the store's database) or memory: (nowhere else; who watches reads the store). auto: postgres: where the store is one, else memory:.",
    },
    Setting {
        key: "synchronous",
        kind: Kind::Choice(&["full", "normal"]),
        default: "full",
        about: "full: a committed step outlives a power loss. normal: it outlives a crash of the process only, and is faster.",
    },
    Setting {
        key: "home",
        kind: Kind::Text,
        default: ".segue",
        about: "The folder of what Segue makes for itself and keeps: Python environments, the workers' program.",
    },
    Setting {
        key: "default_task",
        kind: Kind::Text,
        default: "crewai.agent",
        about: "The handler of nodes that name none.",
    },
    Setting {
        key: "max_parallel_tasks",
        kind: Kind::Number,
        default: "16",
        about: "Tasks of one adapter, of all runs, that one process carries out at once.",
    },
    Setting {
        key: "max_live_runs",
        kind: Kind::Number,
        default: "1000",
        about: "Runs that one engine that serves carries out at once; it leaves further ones to others. Those that wait for a person, a time or another run do not count.",
    },
    Setting {
        key: "drain_seconds",
        kind: Kind::Number,
        default: "10",
        about: "On SIGTERM: how long running tasks may go on before they are handed back, to be resumed.",
    },
    Setting {
        key: "grace_seconds",
        kind: Kind::Number,
        default: "5",
        about: "How long a cancelled or timed-out task may take to end by itself before its processes are killed.",
    },
    Setting {
        key: "lease_seconds",
        kind: Kind::Number,
        default: "15",
        about: "How long an engine's runs stay its own without a sign of life of it; renewed three times as often. Others take the runs over when it has ended.",
    },
    Setting {
        key: "listen",
        kind: Kind::Text,
        default: "127.0.0.1:7348",
        about: "Where `segue serve` answers HTTP: an address of this machine's own and a port; port 0 takes one that is free.",
    },
    Setting {
        key: "log_format",
        kind: Kind::Choice(&["human", "json"]),
        default: "human",
        about: "How log lines are written to stderr.",
    },
    Setting {
        key: "log",
        kind: Kind::Text,
        default: "warn,segue_engine::observe=error",
        about: "Which log lines are written: a level, or levels by module. What happens in runs is shown by the commands anyway.",
    },
];

/// The setting with this key.
pub(crate) fn find(key: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.key == key)
}
