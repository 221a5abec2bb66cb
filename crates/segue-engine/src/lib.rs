//! The asynchronous shell around the kernel: drives runs, dispatches attempts, keeps leases and timers.
//!
//! [`Engine`] is an [`Orchestrator`](segue_core::ports::Orchestrator) on any
//! [`RunStore`](segue_core::ports::RunStore). All decisions are the kernel's; what is here waits, stores and starts.
//!
//! * `engine`, `start`: what an application calls.
//! * `drive`: one loop per live run.
//! * `dispatch`, `registry`: the local scheduler and the adapters it knows; `handlers`: those built in.
//! * `lease`, `inbox`, `shutdown`: keeping runs, hearing requests, leaving in good order.
//! * `observe`: metrics, logs and spans, as decorators around ports.
//! * `conveniences`: single writes for adapter authors and tests, expressed through `commit`.

mod clock;
mod config;
mod conveniences;
mod dispatch;
mod drive;
mod engine;
mod handlers;
mod inbox;
mod lease;
mod live;
mod observe;
mod plans;
mod progress;
mod registry;
mod shared;
mod shutdown;
mod start;

pub use clock::Clock;
pub use config::EngineConfig;
pub use conveniences::{WriteError, set_run_status, update_task_result};
pub use dispatch::LocalScheduler;
pub use engine::{Engine, EngineBuilder, StartError};
pub use handlers::Pass;
pub use lease::own_proof;
pub use observe::{NoBus, NoMetrics, ObservedAdapter, ObservedStore};
pub use registry::{Adapters, HandlerTaken};
