//! Everything outside is a port: an object-safe trait with documented promises and a conformance suite in
//! `segue-testkit`. A backend is a crate that passes the suite and knows nothing of the others.

mod adapter;
mod bus;
mod checkpoints;
mod context;
mod journal;
mod limits;
mod metrics;
mod models;
mod orchestrator;
mod rows;
mod scheduler;
mod secrets;
mod store;
mod upkeep;

pub use adapter::{Adapter, Budget, BudgetScope, CancelSignal, Invocation, Progress, ProgressSink};
pub use bus::{BusError, EventBus, EventStream, Topic};
pub use checkpoints::{Checkpoint, CheckpointFilter, CheckpointStore, CheckpointWrites, Typed, Write};
pub use context::ExecutionContext;
pub use journal::{CallKey, ModelJournal, RecordedCall};
pub use limits::{
    Acquire, Admission, Bounds, Charge, Freed, LimitAsk, LimitRequest, LimitStore, LimitView, LimitWait, WaitReason,
};
pub use metrics::MetricsCollector;
pub use models::{ModelAccess, ModelDoor};
pub use orchestrator::{Orchestrator, OrchestratorError, StartRun, Started};
pub use rows::{Cached, Collected, Deployment, RunFilter, RunRow, TaskRow, WaitingTask, WorkflowVersion};
pub use scheduler::{Completion, ScheduleError, Scheduler, Slot};
pub use secrets::Secrets;
pub use store::{
    ClaimRequest, Commit, Created, EngineRecord, Lease, NewRun, OwnerProof, Request, RequestId, RequestKind, RunStore,
    StoreError,
};
pub use upkeep::{
    Copied, Count, EngineStatus, Finding, FindingKind, Findings, SchemaVersion, StoreStatus, StoreUpkeep,
};
