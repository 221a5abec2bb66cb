//! The wire format of `POST /v1/chat/completions`: what is asked, what is answered, and how a refusal looks.

mod completion;
mod error;
mod request;

pub(crate) use completion::{Answer, CREATED, Completion, Finish, ToolCall, chars_of};
pub(crate) use error::ApiError;
pub(crate) use request::{ChatRequest, ResponseFormat, ToolChoice};
