//! What an attempt may ask the engine to keep or to give: the checkpoints of its task.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use segue_core::ports::{Checkpoint, CheckpointFilter, CheckpointStore, CheckpointWrites, Typed, Write};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A call, not yet read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rpc {
    /// Unique for the attempt.
    pub id: u64,
    /// What is asked.
    pub op: String,
    /// About what.
    pub args: Map<String, Value>,
}

/// Why a call gives nothing. Said to the attempt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It names what it may not.
    #[error("the thread `{0}` is not this task's")]
    NotItsOwn(String),
    /// There is nothing that could keep checkpoints.
    #[error("this engine keeps no checkpoints")]
    NoStore,
    /// The store could not.
    #[error("the store failed: {0}")]
    Store(String),
}

/// A call, read.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Keep a checkpoint.
    Put(Checkpoint),
    /// Keep what a step wrote.
    PutWrites(CheckpointWrites),
    /// The checkpoint with this id, or the newest.
    Get {
        /// Of this thread.
        thread: String,
        /// In this namespace.
        namespace: String,
        /// With this id.
        id: Option<String>,
    },
    /// All that the filter lets through.
    List(CheckpointFilter),
    /// Forget a thread.
    DeleteThread(String),
}

impl Call {
    /// Reads a call. `Err` tells what is wrong with it: the worker has a bug, or is none of ours.
    pub fn read(rpc: Rpc) -> Result<Self, String> {
        let args = Value::Object(rpc.args);
        let read = match rpc.op.as_str() {
            "checkpoint.put" => serde_json::from_value::<Put>(args).map(|put| Self::Put(put.into())),
            "checkpoint.put_writes" => serde_json::from_value::<PutWrites>(args).map(|put| Self::PutWrites(put.into())),
            "checkpoint.get" => serde_json::from_value::<Get>(args).map(|get| Self::Get {
                thread: get.thread,
                namespace: get.ns,
                id: get.id,
            }),
            "checkpoint.list" => serde_json::from_value::<List>(args).map(|list| Self::List(list.into())),
            "checkpoint.delete_thread" => {
                serde_json::from_value::<Thread>(args).map(|which| Self::DeleteThread(which.thread))
            }
            other => return Err(format!("there is no call `{other}`")),
        };
        read.map_err(|error| format!("a call `{}` that cannot be read: {error}", rpc.op))
    }

    fn thread(&self) -> &str {
        match self {
            Self::Put(checkpoint) => &checkpoint.thread,
            Self::PutWrites(writes) => &writes.thread,
            Self::Get { thread, .. } | Self::DeleteThread(thread) => thread,
            Self::List(filter) => filter.thread.as_deref().unwrap_or_default(),
        }
    }

    /// Carries it out for a task whose thread is `own`, and gives the value of the answer.
    pub async fn carry_out(self, store: &dyn CheckpointStore, own: &str) -> Result<Value, CallError> {
        let asked = self.thread();
        if asked != own && !asked.strip_prefix(own).is_some_and(|rest| rest.starts_with('/')) {
            return Err(CallError::NotItsOwn(asked.to_owned()));
        }
        let failed = |error: segue_core::ports::StoreError| CallError::Store(error.to_string());
        match self {
            Self::Put(checkpoint) => store.put_checkpoint(checkpoint).await.map_err(failed)?,
            Self::PutWrites(writes) => store.put_writes(writes).await.map_err(failed)?,
            Self::DeleteThread(thread) => store.delete_thread(&thread).await.map_err(failed)?,
            Self::Get { thread, namespace, id } => {
                let found = store.get_checkpoint(&thread, &namespace, id.as_deref()).await.map_err(failed)?;
                return Ok(found.map_or(Value::Null, |checkpoint| to_json(&checkpoint)));
            }
            Self::List(filter) => {
                let found = store.list_checkpoints(&filter).await.map_err(failed)?;
                return Ok(found.iter().map(to_json).collect());
            }
        }
        Ok(Value::Null)
    }
}

/// Bytes as base64.
#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Bytes(Vec<u8>);

impl TryFrom<String> for Bytes {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        STANDARD.decode(text).map(Self)
    }
}

#[derive(Deserialize)]
struct Put {
    thread: String,
    ns: String,
    id: String,
    parent: Option<String>,
    kind: String,
    data: Bytes,
    metadata: Map<String, Value>,
}

impl From<Put> for Checkpoint {
    fn from(put: Put) -> Self {
        Self {
            thread: put.thread,
            namespace: put.ns,
            id: put.id,
            parent: put.parent,
            state: Typed { kind: put.kind, bytes: put.data.0 },
            metadata: put.metadata,
            writes: Vec::new(),
        }
    }
}

#[derive(Deserialize)]
struct PutWrites {
    thread: String,
    ns: String,
    id: String,
    task_id: String,
    task_path: String,
    writes: Vec<OneWrite>,
    replace: bool,
}

#[derive(Deserialize)]
struct OneWrite {
    idx: i64,
    channel: String,
    kind: String,
    data: Bytes,
}

impl From<PutWrites> for CheckpointWrites {
    fn from(put: PutWrites) -> Self {
        let (task_id, task_path) = (put.task_id, put.task_path);
        let write = |write: OneWrite| Write {
            task_id: task_id.clone(),
            task_path: task_path.clone(),
            index: write.idx,
            channel: write.channel,
            value: Typed { kind: write.kind, bytes: write.data.0 },
        };
        let writes = put.writes.into_iter().map(write).collect();
        Self { thread: put.thread, namespace: put.ns, id: put.id, writes, replace: put.replace }
    }
}

#[derive(Deserialize)]
struct Get {
    thread: String,
    ns: String,
    id: Option<String>,
}

#[derive(Deserialize)]
struct List {
    thread: String,
    ns: Option<String>,
    filter: Option<Map<String, Value>>,
    before: Option<String>,
    id: Option<String>,
    limit: Option<usize>,
}

impl From<List> for CheckpointFilter {
    fn from(list: List) -> Self {
        Self {
            thread: Some(list.thread),
            namespace: list.ns,
            id: list.id,
            metadata: list.filter.unwrap_or_default(),
            before: list.before,
            limit: list.limit,
        }
    }
}

#[derive(Deserialize)]
struct Thread {
    thread: String,
}

fn to_json(checkpoint: &Checkpoint) -> Value {
    let writes: Vec<Value> = checkpoint.writes.iter().map(write_to_json).collect();
    json!({
        "thread": checkpoint.thread,
        "ns": checkpoint.namespace,
        "id": checkpoint.id,
        "parent": checkpoint.parent,
        "kind": checkpoint.state.kind,
        "data": STANDARD.encode(&checkpoint.state.bytes),
        "metadata": checkpoint.metadata,
        "writes": writes,
    })
}

fn write_to_json(write: &Write) -> Value {
    json!({
        "task_id": write.task_id,
        "task_path": write.task_path,
        "idx": write.index,
        "channel": write.channel,
        "kind": write.value.kind,
        "data": STANDARD.encode(&write.value.bytes),
    })
}
