//! The wire format of `POST /v1/chat/completions`: what is asked, what is answered, and how a refusal looks; and that of
//! `POST /v1/responses` as another spelling of the same.

mod completion;
mod error;
mod request;
mod responses;

pub(crate) use completion::{Answer, CREATED, Completion, Finish, ToolCall, chars_of, tokens};
pub(crate) use error::ApiError;
pub(crate) use request::{ChatRequest, Function, ResponseFormat, ToolChoice};
pub(crate) use responses::chat_of;
