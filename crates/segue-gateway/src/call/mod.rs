//! The way of a call: what is asked is read, looked up in the journal, reserved in the budget, given its turn, sent, counted,
//! recorded and answered, in this order. An answer is in the journal before its last byte is given to the client.

mod meter;
mod plain;
mod record;
mod relay;
mod replay;

use std::{sync::Arc, time::Duration};

use axum::{
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
};
use hyper::body::Bytes;
use segue_core::outcome::{ErrorKind, TaskError, Usage};

use self::meter::{Ending, Meter};
pub(crate) use self::replay::in_the_form_of;
use crate::{
    account::{Account, Place},
    ask::{Ask, Endpoint},
    budget::Amount,
    chat::ApiError,
    gateway::{Route, Shared},
    lane::Turn,
    retry_after,
    server::severed,
    sse,
    upstream::{Caller, UpstreamError, UpstreamReply, UpstreamRequest},
};

/// How long a call waits in all because a provider asks it to.
const PAUSES_MAX: Duration = Duration::from_secs(600);
/// The longest answer that is reserved for where the request does not bound it.
const OUTPUT_TOKENS_MOST: u64 = 16_384;
/// Headers of a client that concern the provider, beside those that begin with `openai-`.
const PASSED_ON: [&str; 3] = ["user-agent", "http-referer", "x-title"];

/// One call, and whose it is.
pub(crate) struct Call {
    shared: Arc<Shared>,
    account: Arc<Account>,
    ask: Ask,
    place: Place,
}

/// Answers a call, or breaks its connection: because its attempt is over, or because the provider did the same.
pub(crate) async fn answer(
    shared: Arc<Shared>,
    account: Arc<Account>,
    endpoint: Endpoint,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let ended = account.ended.clone();
    tokio::select! {
        biased;
        () = ended.cancelled() => severed(),
        answered = carry_out(shared, account, endpoint, headers, body) => answered.unwrap_or_else(Stop::into_response),
    }
}

/// Why a call has no answer of a provider.
enum Stop {
    /// It is refused here.
    Refused(ApiError),
    /// The provider's connection broke; so does the client's, which then sees what it would have seen without a gateway.
    Broken,
}

impl From<ApiError> for Stop {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

impl IntoResponse for Stop {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(error) => error.into_response(),
            Self::Broken => severed(),
        }
    }
}

async fn carry_out(
    shared: Arc<Shared>,
    account: Arc<Account>,
    endpoint: Endpoint,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Stop> {
    let ask = Ask::parse(endpoint, body)?;
    let place = account.place(ask.hash);
    let call = Call { shared, account, ask, place };
    if let Some(recorded) = record::find(&call).await {
        return Ok(replay::answer(call, &recorded));
    }
    let route = match call.shared.route(&call.ask.model, call.account.rehearsal) {
        Ok(route) => route,
        Err(error) if error.status() == StatusCode::UNAUTHORIZED => return Err(call.refused(ErrorKind::Auth, error)),
        Err(error) => return Err(call.refused(ErrorKind::InvalidInput, error)),
    };
    let mut meter = Meter::new(&call, route.upstream.name(), route.price);
    call.reserve(&route, &mut meter).await?;
    let reply = call.send(&route, &headers, &mut meter).await?;
    Ok(if is_stream(&reply) && reply.status.is_success() {
        relay::answer(call, reply, meter)
    } else {
        plain::answer(call, &route, reply, meter).await?
    })
}

impl Call {
    /// Reserves what the call could consume at most, in all budgets that it draws on.
    async fn reserve(&self, route: &Route, meter: &mut Meter) -> Result<(), Stop> {
        let most = Usage {
            input_tokens: self.ask.input_tokens_most(),
            output_tokens: self.ask.output_tokens_max.unwrap_or(OUTPUT_TOKENS_MOST),
            ..Usage::default()
        };
        let cost_nanousd = route.price.map_or(0, |price| price.of(&most));
        for ledger in &self.account.ledgers {
            if ledger.counts_cost() && route.price.is_none() && !self.account.rehearsal {
                meter.close(Ending::Refused);
                return Err(self.refused(ErrorKind::Budget, ApiError::no_price(&self.ask.model)));
            }
            match ledger.reserve(Amount { tokens: most.total_tokens(), cost_nanousd }).await {
                Ok(reservation) => meter.reserved(reservation),
                Err(exhausted) => {
                    meter.close(Ending::Refused);
                    return Err(self.refused(ErrorKind::Budget, ApiError::budget(&exhausted.to_string())));
                }
            }
        }
        Ok(())
    }

    fn refused(&self, kind: ErrorKind, error: ApiError) -> Stop {
        self.account.was_refused(TaskError::new(kind, error.message()));
        Stop::Refused(error)
    }

    /// Sends the call when its turn has come, and again when the provider says for how long it should wait.
    async fn send(&self, route: &Route, headers: &HeaderMap, meter: &mut Meter) -> Result<UpstreamReply, Stop> {
        let request = UpstreamRequest {
            endpoint: self.ask.endpoint,
            model: self.ask.model.clone(),
            stream: self.ask.stream,
            body: self.ask.body_for(route.stream_usage),
            headers: passed_on(headers),
            caller: self.account.caller.clone(),
            hash: self.ask.hash,
        };
        let output = self.ask.output_tokens_max.unwrap_or(u64::MAX).min(route.lane.likely_output_tokens());
        let mut turn = Turn { run: self.account.caller.run_id, tokens: self.ask.input_tokens() + output, again: false };
        let mut waited = Duration::ZERO;
        loop {
            meter.has_turn(route.lane.enter(turn).await);
            let reply = match route.upstream.send(request.clone()).await {
                Ok(reply) => reply,
                Err(error) => return Err(self.broken(route, meter, &error)),
            };
            meter.answer_begins(reply.status);
            self.account.was_answered();
            if reply.status != StatusCode::TOO_MANY_REQUESTS {
                return Ok(reply);
            }
            let pause = retry_after::of(&reply.headers);
            let Some(pause) = pause.filter(|pause| waited + *pause <= PAUSES_MAX) else { return Ok(reply) };
            let (reply, is_quota) = plain::look(reply, retry_after::is_quota).await;
            if is_quota {
                return Ok(reply);
            }
            let Caller { run_id, task, attempt, .. } = &self.account.caller;
            tracing::info!(
                %run_id,
                task_id = %task,
                attempt,
                model = self.ask.model,
                seconds = pause.as_secs_f64(),
                "the provider asks to wait; all calls of this model do"
            );
            route.lane.pause(pause);
            (waited, turn.again) = (waited + pause, true);
            meter.has_lost_turn();
        }
    }

    fn broken(&self, route: &Route, meter: &mut Meter, error: &UpstreamError) -> Stop {
        let trouble = format!("the provider `{}` {error}", route.upstream.name());
        let Caller { run_id, task, attempt, .. } = &self.account.caller;
        tracing::warn!(%run_id, task_id = %task, attempt, model = self.ask.model, "{trouble}");
        self.account.had_trouble(trouble);
        meter.close(Ending::Broken);
        Stop::Broken
    }
}

fn is_stream(reply: &UpstreamReply) -> bool {
    let kind = reply.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(|kind| kind.starts_with("text/event-stream"))
}

fn passed_on(headers: &HeaderMap) -> HeaderMap {
    let concerns = |name: &HeaderName| name.as_str().starts_with("openai-") || PASSED_ON.contains(&name.as_str());
    headers.iter().filter(|(name, _)| concerns(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Those of a provider's headers that concern its client.
fn given_back(headers: &HeaderMap) -> HeaderMap {
    let concerns = |name: &HeaderName| {
        let name = name.as_str();
        matches!(name, "content-type" | "retry-after" | "retry-after-ms" | "request-id" | "x-request-id")
            || name.starts_with("x-ratelimit-")
            || name.starts_with("openai-")
    };
    headers.iter().filter(|(name, _)| concerns(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// A whole body with its kind.
fn whole(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Response {
    let kind = if content_type.starts_with("text/event-stream") { sse::CONTENT_TYPE } else { "application/json" };
    (status, [(header::CONTENT_TYPE, kind)], body.into()).into_response()
}
