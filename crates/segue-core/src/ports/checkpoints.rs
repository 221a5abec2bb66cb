//! What a graph keeps between its steps, so that one that was killed goes on with its last one.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::StoreError;

/// A value as the framework has serialised it; read by nobody else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Typed {
    /// How: `msgpack`, `json`, `bytes`, `null`.
    pub kind: String,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// The state of a graph after a step.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Whose: `<run id>/<task id>`. Everything of a thread goes with its run.
    pub thread: String,
    /// Which graph inside it; empty for the outermost.
    pub namespace: String,
    /// Ascends with time, compared as text.
    pub id: String,
    /// The one before it.
    pub parent: Option<String>,
    /// The state.
    pub state: Typed,
    /// What the framework says about it; can be filtered by.
    pub metadata: Map<String, Value>,
    /// What steps after it have written already. Empty in what is put; in order of `(task_path, task_id, index)` in what
    /// is got.
    pub writes: Vec<Write>,
}

/// One value that a step wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// The step's own id.
    pub task_id: String,
    /// Where it lies in the graph.
    pub task_path: String,
    /// Its place among the step's writes; negative for the framework's own channels.
    pub index: i64,
    /// To what.
    pub channel: String,
    /// What.
    pub value: Typed,
}

/// Writes of one step after a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckpointWrites {
    /// The checkpoint's thread.
    pub thread: String,
    /// Its namespace.
    pub namespace: String,
    /// Its id. It need not be there yet.
    pub id: String,
    /// What was written.
    pub writes: Vec<Write>,
    /// Does a write take the place of an earlier one with the same `(task_id, index)`? Otherwise the earlier one stays.
    pub replace: bool,
}

/// Which checkpoints to list, the newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CheckpointFilter {
    /// Of this thread; `None`: of all.
    pub thread: Option<String>,
    /// Of this namespace; `None`: of all.
    pub namespace: Option<String>,
    /// With this id only.
    pub id: Option<String>,
    /// Whose metadata has these values.
    pub metadata: Map<String, Value>,
    /// Older than the one with this id.
    pub before: Option<String>,
    /// At most this many.
    pub limit: Option<usize>,
}

/// Keeps the checkpoints of graphs. What a call has written is durable when it returns.
#[async_trait]
pub trait CheckpointStore: Send + Sync {
    /// Keeps a checkpoint; one with the same thread, namespace and id is replaced, its writes stay.
    async fn put_checkpoint(&self, checkpoint: Checkpoint) -> Result<(), StoreError>;

    /// Keeps what a step wrote.
    async fn put_writes(&self, writes: CheckpointWrites) -> Result<(), StoreError>;

    /// The checkpoint with this id, or the newest one, with its writes.
    async fn get_checkpoint(
        &self,
        thread: &str,
        namespace: &str,
        id: Option<&str>,
    ) -> Result<Option<Checkpoint>, StoreError>;

    /// Those that the filter lets through, the newest (greatest id) first, with their writes.
    async fn list_checkpoints(&self, filter: &CheckpointFilter) -> Result<Vec<Checkpoint>, StoreError>;

    /// Forgets everything of a thread.
    async fn delete_thread(&self, thread: &str) -> Result<(), StoreError>;
}
