//! A model gateway inside the `segue` process: an HTTP server on loopback that speaks the OpenAI-compatible API.
//!
//! Workers are started with its address as their base URL and with a token that is good for one attempt. What stands
//! here today is the [`Rehearsal`]: a built-in model that answers any request by itself, so that real agent code runs
//! without a key, without a network and without spending anything.
//!
//! * `chat`: the wire format: requests, answers, streams, errors.
//! * `rehearsal`: what the built-in model answers, a pure function of the request.
//! * `routes`: the paths, and who may call them.
//! * `server`: connections, their bounds and their end.
//! * `tokens`: who is calling, and what they have consumed.
//!
//! ```
//! use segue_gateway::Rehearsal;
//!
//! #[tokio::main]
//! async fn main() -> Result<(), segue_gateway::GatewayError> {
//!     let rehearsal = Rehearsal::start().await?;
//!     let token = rehearsal.issue("run/write@1");
//!     let base_url = rehearsal.base_url();
//!     let env = [("OPENAI_BASE_URL", base_url), ("OPENAI_API_KEY", token.secret().to_owned())];
//!     // … a worker runs with `env` …
//!     println!("{} tokens", token.usage().total_tokens());
//!     drop(token); // from here on the worker's key is refused
//!     rehearsal.shutdown().await;
//! #   let _ = env;
//!     Ok(())
//! }
//! ```

mod chat;
mod rehearsal;
mod routes;
mod server;
mod tokens;

pub use rehearsal::Rehearsal;
pub use tokens::AttemptToken;

/// Why the gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// No loopback address could be listened on.
    #[error("cannot listen on 127.0.0.1: {0}")]
    Listen(#[source] std::io::Error),
}
