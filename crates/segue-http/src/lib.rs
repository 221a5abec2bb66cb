//! HTTP for tasks.
//!
//! * [`client`]: a client that can be ended at once, reads no more than it was told to, and reaches no address that it was
//!   not allowed to. The adapters of remote servers use it too.
//! * [`request`]: the `http.request` handler.
//! * [`api`]: a server's JSON interface, for the adapters of remote servers.
//! * [`retry_after`]: how long a server asks to wait. [`sse`]: events out of a stream.
//!
//! What holds everywhere: a host is resolved first and the connection goes to an address that was looked at, at every
//! redirect anew; nothing of the engine's environment decides where a request goes; no error quotes a header, a query or
//! more of an address than its host.

pub mod api;
pub mod client;
pub mod request;
pub mod retry_after;
pub mod sse;

pub use api::{Answer, Api, Pauses};
pub use client::{HttpClient, HttpError, HttpOptions, Policy, Reply, Request};
pub use request::HttpAdapter;

/// What the client's interface is made of.
pub use reqwest::{Method, StatusCode, Url, header};
