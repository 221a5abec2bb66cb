//! The asynchronous shell around the kernel: drives runs, dispatches attempts, keeps leases and timers.
//!
//! [`Engine`] is an [`Orchestrator`](segue_core::ports::Orchestrator) on any
//! [`RunStore`](segue_core::ports::RunStore). All decisions are the kernel's; what is here waits, stores and starts.
//!
//! ```
//! use std::sync::Arc;
//!
//! use segue_core::{memory::MemoryStore, ports::{Orchestrator, StartRun}, status::Status};
//! use segue_engine::{Clock, Engine, Pass};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = Clock::start();
//! let store = Arc::new(MemoryStore::new(Arc::new(move || clock.now())));
//! let engine = Engine::builder(store).adapter(Arc::new(Pass)).start().await?;
//!
//! let workflow = serde_json::from_value(serde_json::json!({
//!     "id": "greeting",
//!     "nodes": [{"id": "hello", "task": "pass", "inputs": {"text": "hello"}}],
//! }))?;
//! let version = engine.deploy_workflow(&workflow).await?;
//! let started = engine.start_run(version, StartRun::default()).await?;
//! assert_eq!(engine.wait(started.run_id).await?.status, Status::Succeeded);
//! engine.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! * `engine`, `builder`, `start`, `rerun`: what an application calls; `pins` finds the versions of child workflows.
//! * `drive`: one loop per live run: `accept` takes places, `dispatch` carries out, `attempts` stops what is not wanted any
//!   more, `letters` takes what comes in, `commit` writes, `load` and `recover` take up a run from its log, `children`, `orphan` and `cache` do what
//!   their names say.
//! * `child`: an attempt at a child workflow: starts or finds the child run and follows it to its end.
//! * `dispatch`, `registry`: the local scheduler and the adapters it knows; `handlers`: those built in.
//! * `suspects`: tasks that may be what kills engines run one at a time.
//! * `prepare`: what the tasks of a claimed run need and what takes long, made before they begin.
//! * `secrets`: put in when an attempt is dispatched, taken out of what comes back.
//! * `lease`, `look`, `inbox`, `shutdown`: keeping runs, finding those that nobody drives, hearing requests, leaving in
//!   good order.
//! * `answer`, `read`: answering what tasks wait for, from any process; a run as its log tells it.
//! * `framework`: an engine whose nodes are one framework's unless they say otherwise.
//! * `observe`: metrics, logs and spans, as decorators around ports.
//! * `conveniences`: single writes for adapter authors and tests, expressed through `commit`.

mod answer;
mod builder;
mod child;
mod clock;
mod config;
mod conveniences;
mod dispatch;
mod drive;
mod engine;
mod framework;
mod handlers;
mod inbox;
mod lease;
mod limits;
mod live;
mod look;
#[cfg(feature = "mutants")]
pub mod mutants;
#[cfg(not(feature = "mutants"))]
mod mutants;
mod observe;
mod patience;
mod pins;
mod plans;
mod prepare;
mod progress;
mod read;
mod registry;
mod rerun;
mod secrets;
mod shared;
mod shutdown;
mod start;
mod suspects;

pub use answer::{AnswerError, Answered, answer};
pub use builder::{EngineBuilder, StartError};
pub use clock::Clock;
pub use config::EngineConfig;
pub use conveniences::{WriteError, set_run_status, update_task_result};
pub use dispatch::LocalScheduler;
pub use engine::{Engine, EngineState};
pub use framework::{Framework, FrameworkOrchestrator};
pub use handlers::Pass;
pub use lease::own_proof;
pub use limits::{LimitWaiting, limit_waits};
pub use observe::{NoBus, NoMetrics, ObservedAdapter, ObservedStore};
pub use prepare::Prepare;
pub use read::{ReadError, read_run};
pub use registry::{Adapters, HandlerTaken};
pub use secrets::NoSecrets;
