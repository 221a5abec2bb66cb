//! The rehearsal model as one who answers calls: the built-in model, in the weather that a script makes.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use futures_util::{StreamExt as _, future, stream};
use hyper::body::Bytes;
use segue_core::outcome::Usage;
use serde_json::{Value, json};

use super::{BodyStream, Upstream, UpstreamError, UpstreamReply, UpstreamRequest};
use crate::{
    ask::Endpoint,
    chat::{Answer, ApiError, ChatRequest, Completion, Finish, ToolCall, chat_of},
    rehearsal::{self, EmbeddingRequest},
    script::{About, Asked, Call, Director, Kind, Reply, Script, What},
    sse,
};

/// Answers by itself: a pure function of the request, or of the request and what a script says to it.
pub(crate) struct RehearsalModel {
    director: Option<Director>,
}

impl RehearsalModel {
    pub(crate) fn new(script: Option<Arc<Script>>) -> Self {
        Self { director: script.map(Director::new) }
    }
}

#[async_trait]
impl Upstream for RehearsalModel {
    fn name(&self) -> &str {
        "rehearsal"
    }

    async fn send(&self, request: UpstreamRequest) -> Result<UpstreamReply, UpstreamError> {
        let question = match Question::parse(&request) {
            Ok(question) => question,
            Err(error) => return Ok(refusal(&error)),
        };
        let reply = self.director.as_ref().and_then(|director| {
            let text = question.text();
            let kind = question.kind();
            director.choose(&Asked { caller: &request.caller, kind, model: &request.model, text: &text })
        });
        let Reply { what, about, .. } = reply.unwrap_or_else(Reply::built_in);
        if !about.delay.is_zero() {
            tokio::time::sleep(about.delay).await;
        }
        let answered = match what {
            What::BuiltIn => question.built_in(),
            What::Text(text) => Ok(Said::Chat(Answer::Text(text, Finish::Stop))),
            What::Calls(calls) => Ok(Said::Chat(Answer::Calls(calls.into_iter().map(call).collect()))),
            What::Status { status, retry_after, message, code } => {
                return Ok(failure(status, retry_after, message, code));
            }
            What::Malformed(body) => return Ok(malformed(&request, body)),
            What::Drop => return Err(UpstreamError::Broken("the script drops the connection".to_owned())),
            What::Hang => future::pending().await,
        };
        Ok(match answered {
            Ok(said) => question.write(&request, said, &about),
            Err(error) => refusal(&error),
        })
    }
}

/// What is asked, understood.
enum Question {
    Chat(ChatRequest),
    Response(ChatRequest),
    Embedding(EmbeddingRequest),
}

/// What is answered.
enum Said {
    Chat(Answer),
    Vectors,
}

impl Question {
    fn parse(request: &UpstreamRequest) -> Result<Self, ApiError> {
        Ok(match request.endpoint {
            Endpoint::Chat => Self::Chat(ChatRequest::parse(&request.body)?),
            Endpoint::Responses => Self::Response(chat_of(&request.body)?),
            Endpoint::Embeddings => Self::Embedding(EmbeddingRequest::parse(&request.body)?),
        })
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Chat(_) | Self::Response(_) => Kind::Chat,
            Self::Embedding(_) => Kind::Embeddings,
        }
    }

    /// Everything that was said, for a script to look into.
    fn text(&self) -> String {
        match self {
            Self::Chat(chat) | Self::Response(chat) => {
                chat.messages.iter().map(|message| message.text()).collect::<Vec<_>>().join("\n")
            }
            Self::Embedding(request) => request.text(),
        }
    }

    fn built_in(&self) -> Result<Said, ApiError> {
        match self {
            Self::Chat(chat) | Self::Response(chat) => rehearsal::answer(chat).map(Said::Chat),
            Self::Embedding(_) => Ok(Said::Vectors),
        }
    }

    /// The answer as it goes over the wire.
    fn write(&self, request: &UpstreamRequest, said: Said, about: &About) -> UpstreamReply {
        let figures = about.usage.map(|(input_tokens, output_tokens, cached_input_tokens)| Usage {
            model_calls: 1,
            input_tokens,
            output_tokens,
            cached_input_tokens,
            ..Usage::default()
        });
        let completion = |chat: &ChatRequest, answer: Answer| {
            let completion = Completion::new(&request.body, chat, answer);
            match figures {
                Some(figures) => completion.with_usage(figures),
                None => completion,
            }
        };
        match (self, said) {
            (Self::Chat(chat), Said::Chat(answer)) => {
                let completion = completion(chat, answer);
                match request.stream {
                    true => {
                        let chunks = completion.chunks();
                        streamed(chunks.iter().map(sse::frame).chain([sse::done()]).collect(), about)
                    }
                    false => plain(&completion.to_json(), about),
                }
            }
            (Self::Response(chat), Said::Chat(answer)) => {
                let completion = completion(chat, answer);
                match request.stream {
                    true => {
                        let events = completion.response_events();
                        streamed(events.iter().map(|(name, event)| sse::named_frame(name, event)).collect(), about)
                    }
                    false => plain(&completion.to_response(), about),
                }
            }
            (Self::Embedding(embedding), _) => {
                let tokens = figures.map_or_else(|| embedding.input_tokens(), |figures| figures.input_tokens);
                plain(&embedding.answer(tokens), about)
            }
            (Self::Chat(_) | Self::Response(_), Said::Vectors) => unreachable!("only embeddings are answered so"),
        }
    }
}

fn call(call: Call) -> ToolCall {
    ToolCall { name: call.name, arguments: call.arguments.to_string() }
}

fn plain(document: &Value, about: &About) -> UpstreamReply {
    let body = Bytes::from(document.to_string());
    let half = body.len() / 2;
    let pieces = match (about.cut_after, about.stall_after) {
        (None, None) => vec![body],
        _ => vec![body.slice(..half), body.slice(half..)],
    };
    let kept = |given: Option<u32>| given.map(|_| 1);
    reply(StatusCode::OK, JSON, in_weather(pieces, kept(about.cut_after), kept(about.stall_after)))
}

fn streamed(frames: Vec<Bytes>, about: &About) -> UpstreamReply {
    let pause = about.chunk_delay;
    let pieces = in_weather(frames, about.cut_after, about.stall_after).then(move |piece| async move {
        if pause > Duration::ZERO {
            tokio::time::sleep(pause).await;
        }
        piece
    });
    reply(StatusCode::OK, sse::CONTENT_TYPE, pieces.boxed())
}

/// The pieces of a body, up to where it breaks off or stands still.
fn in_weather(mut pieces: Vec<Bytes>, cut_after: Option<u32>, stall_after: Option<u32>) -> BodyStream {
    // Never after the end: what is cut is not whole.
    let last = pieces.len().saturating_sub(1);
    let kept = |given: u32| (given as usize).min(last);
    match (cut_after, stall_after) {
        (Some(given), _) => {
            pieces.truncate(kept(given));
            stream::iter(pieces.into_iter().map(Ok).chain([Err(cut())])).boxed()
        }
        (None, Some(given)) => {
            pieces.truncate(kept(given));
            stream::iter(pieces.into_iter().map(Ok)).chain(stream::pending()).boxed()
        }
        (None, None) => stream::iter(pieces.into_iter().map(Ok)).boxed(),
    }
}

fn cut() -> UpstreamError {
    UpstreamError::Broken("the script cuts the answer off".to_owned())
}

const JSON: &str = "application/json";

fn reply(status: StatusCode, content_type: &'static str, body: BodyStream) -> UpstreamReply {
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(content_type))]);
    UpstreamReply { status, headers, body }
}

fn refusal(error: &ApiError) -> UpstreamReply {
    reply(error.status(), JSON, whole(error.to_json().to_string()))
}

fn whole(body: String) -> BodyStream {
    stream::iter([Ok(Bytes::from(body))]).boxed()
}

/// A status that means failure, as providers say it.
fn failure(status: u16, retry_after: Option<f64>, message: Option<String>, code: Option<String>) -> UpstreamReply {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let (kind, usual) = match status.as_u16() {
        401 => ("authentication_error", "Incorrect API key provided."),
        403 => ("permission_error", "You are not allowed to use this model."),
        404 => ("invalid_request_error", "The model does not exist."),
        429 => ("rate_limit_error", "Rate limit reached."),
        400..=499 => ("invalid_request_error", "The request is not valid."),
        503 => ("server_error", "The engine is currently overloaded, please try again later."),
        _ => ("server_error", "The server had an error while processing your request."),
    };
    let message = message.unwrap_or_else(|| format!("{usual} (Rehearsed: the script says so.)"));
    let error = json!({ "error": { "message": message, "type": kind, "param": null, "code": code } });
    let mut failed = reply(status, JSON, whole(error.to_string()));
    if let Some(seconds) = retry_after
        && let Ok(seconds) = HeaderValue::try_from(seconds.to_string())
    {
        failed.headers.insert(header::RETRY_AFTER, seconds);
    }
    failed
}

/// 200, and a body that is no answer.
fn malformed(request: &UpstreamRequest, body: Option<String>) -> UpstreamReply {
    const HALF: &str = r#"{"id": "rehearsed", "object": "chat.completion", "choices": [{"index": 0, "mess"#;
    let body = body.unwrap_or_else(|| HALF.to_owned());
    match request.stream {
        true => reply(StatusCode::OK, sse::CONTENT_TYPE, whole(format!("data: {body}\n\n"))),
        false => reply(StatusCode::OK, JSON, whole(body)),
    }
}

#[cfg(test)]
#[path = "rehearsal_tests.rs"]
mod tests;
