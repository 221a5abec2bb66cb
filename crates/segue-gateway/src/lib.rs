//! A model gateway inside the `segue` process: an HTTP server on loopback that speaks the OpenAI-compatible API.
//!
//! Workers are started with its address as their base URL and with a key that is good for one attempt; the keys of
//! providers stay here. So every call of unmodified agent code is seen on the wire: it is answered by a provider or by the
//! built-in rehearsal model, counted, kept under its model's limits and its run's budget, and recorded, so that an attempt
//! that follows a lost one is given what was paid for already.
//!
//! * `gateway`: what all calls share, and the doors that attempts get. `account`: who is calling.
//! * `routes`, `server`: the paths, who may call them; connections, their bounds and their end.
//! * `ask`: what is asked, and its name in the journal.
//! * `call`: the way of a call through all of the following, in order.
//! * `budget`, `lane`: what a run may consume, what a model may be asked.
//! * `upstream`: who answers: a provider, or the `rehearsal` model, a pure function of the request (`chat`: its wire format).
//! * `script`: what a rehearsal is to be answered, and in what weather.
//! * `cassette`: what providers answer, recorded and replayed.
//! * `chat_task`: the handler `llm.chat`.
//! * `figures`, `sse`, `convert`, `retry_after`: what answers say, in one piece and in pieces.
//!
//! ```
//! # use std::sync::Arc;
//! # use segue_core::{memory::MemoryStore, ports::{Invocation, ModelAccess}, time::Timestamp};
//! use segue_gateway::{Gateway, GatewayOptions, ProviderKey, ProviderOptions};
//!
//! # async fn example(invocation: Invocation) -> Result<(), Box<dyn std::error::Error>> {
//! # let journal = Arc::new(MemoryStore::new(Arc::new(|| Timestamp::from_micros(0))));
//! let provider = ProviderOptions {
//!     key: ProviderKey::Given("sk-…".to_owned()),
//!     ..ProviderOptions::new("local", "http://127.0.0.1:8000/v1")
//! };
//! let gateway = Gateway::start(GatewayOptions { providers: vec![provider], ..GatewayOptions::new(journal) }).await?;
//! let door = gateway.open(&invocation)?;
//! let env = [("OPENAI_BASE_URL", door.base_url()), ("OPENAI_API_KEY", door.api_key())];
//! // … a worker runs with `env` …
//! # let _ = env;
//! println!("{} tokens", door.usage().total_tokens());
//! drop(door); // from here on the worker's key is refused
//! gateway.shutdown().await;
//! # Ok(())
//! # }
//! ```

mod account;
mod ask;
mod budget;
mod call;
mod cassette;
mod chat;
mod chat_task;
mod clock;
mod convert;
mod door;
mod figures;
mod gateway;
mod lane;
mod options;
mod rehearsal;
mod retry_after;
mod routes;
mod script;
mod server;
mod sse;
mod upstream;

pub use cassette::{Cassette, CassetteError};
pub use chat_task::{ChatAdapter, HANDLER as CHAT};
pub use clock::{Clock, ClockHand};
pub use gateway::Gateway;
pub use options::{GatewayOptions, ModelOptions, Price, ProviderKey, ProviderOptions, SharedLimits};
pub use script::{Script, script_schema};

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No loopback address could be listened on.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[source] std::io::Error),
    /// A provider cannot be asked as it is configured.
    #[error("the provider `{name}` cannot be used: {why}")]
    Provider {
        /// Which.
        name: String,
        /// Why.
        why: String,
    },
}
