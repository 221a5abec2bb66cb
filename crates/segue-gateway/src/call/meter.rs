//! What a call took: counted once, however it ends, and told to those who listen.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::http::StatusCode;
use segue_core::{
    outcome::Usage,
    ports::{MetricsCollector, Progress},
};
use serde_json::json;
use tracing::Span;

use super::Call;
use crate::{
    account::{Account, Accounts},
    ask::tokens,
    budget::{Reservation, dollars},
    figures::Figures,
    lane::Slot,
    options::Price,
};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// With a whole answer.
    Answered,
    /// With an answer of the journal.
    Replayed,
    /// The provider, or the gateway, said no.
    Refused,
    /// The connection broke, or the answer was no answer.
    Broken,
    /// The attempt was cancelled, or its client hung up.
    Dropped,
}

impl Ending {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Replayed => "replayed",
            Self::Refused => "refused",
            Self::Broken => "broken",
            Self::Dropped => "cancelled",
        }
    }
}

/// Counts one call. Dropping it closes it.
pub(super) struct Meter {
    accounts: Arc<Accounts>,
    account: Arc<Account>,
    metrics: Option<Arc<dyn MetricsCollector>>,
    model: String,
    provider: String,
    streamed: bool,
    price: Option<Price>,
    input_estimate: u64,
    begun: Instant,
    /// When the call had its last turn.
    turn: Option<Instant>,
    first_byte: Option<Duration>,
    status: Option<StatusCode>,
    /// Is there an answer that is paid for, if only a part of it?
    is_billed: bool,
    figures: Option<Figures>,
    output_bytes: usize,
    slot: Option<Slot>,
    reservations: Vec<Reservation>,
    span: Span,
    is_closed: bool,
}

impl Meter {
    pub(super) fn new(call: &Call, provider: &str, price: Option<Price>) -> Self {
        let span = tracing::info_span!(
            "model.call",
            gen_ai.operation.name = call.ask.endpoint.operation(),
            gen_ai.provider.name = provider,
            gen_ai.request.model = call.ask.model,
            gen_ai.usage.input_tokens = tracing::field::Empty,
            gen_ai.usage.output_tokens = tracing::field::Empty,
            http.response.status_code = tracing::field::Empty,
            error.r#type = tracing::field::Empty,
            segue.attempt = call.account.name,
            segue.replayed = tracing::field::Empty,
        );
        Self {
            accounts: call.shared.accounts.clone(),
            account: call.account.clone(),
            metrics: call.shared.metrics.clone(),
            model: call.ask.model.clone(),
            provider: provider.to_owned(),
            streamed: call.ask.stream,
            price,
            input_estimate: call.ask.input_tokens(),
            begun: Instant::now(),
            turn: None,
            first_byte: None,
            status: None,
            is_billed: false,
            figures: None,
            output_bytes: 0,
            slot: None,
            reservations: Vec::new(),
            span,
            is_closed: false,
        }
    }

    pub(super) fn reserved(&mut self, reservation: Reservation) {
        self.reservations.push(reservation);
    }

    pub(super) fn has_turn(&mut self, slot: Slot) {
        self.turn = Some(Instant::now());
        self.slot = Some(slot);
    }

    /// It is to be asked again: nothing was billed.
    pub(super) fn has_lost_turn(&mut self) {
        if let Some(mut slot) = self.slot.take() {
            slot.settle(0);
        }
        (self.first_byte, self.status) = (None, None);
    }

    /// The head of an answer is there.
    pub(super) fn answer_begins(&mut self, status: StatusCode) {
        self.first_byte = self.turn.map(|turn| turn.elapsed());
        self.status = Some(status);
        self.is_billed = status.is_success();
        if let Some(slot) = &mut self.slot {
            slot.answer_begins();
        }
    }

    /// What the answer says about itself; the last word counts.
    pub(super) fn says(&mut self, figures: Option<Figures>) {
        self.figures = figures.or(self.figures);
    }

    /// So much of an answer has come: what is counted if it never says how much it is.
    pub(super) fn has_come(&mut self, bytes: usize) {
        self.output_bytes += bytes;
    }

    /// What came is no answer, and says nothing about its price: it counts as none.
    pub(super) fn is_worthless(&mut self) {
        self.is_billed = false;
    }

    /// What the call has consumed so far.
    pub(super) fn usage(&self) -> Usage {
        if !self.is_billed {
            return Usage::default();
        }
        let estimate = || Figures::estimated(self.input_estimate, tokens(self.output_bytes));
        let usage = self.figures.unwrap_or_else(estimate).usage();
        Usage { cost_nanousd: self.price.map_or(0, |price| price.of(&usage)), ..usage }
    }

    /// Counts the call, and goes on holding its place in the lane.
    pub(super) fn close_but_hold_place(&mut self, ending: Ending) {
        let mut slot = self.slot.take();
        if let Some(slot) = &mut slot {
            let usage = self.usage();
            slot.settle(usage.total_tokens());
            if ending == Ending::Answered {
                slot.lane().learn(usage.output_tokens);
            }
        }
        self.close(ending);
        self.slot = slot;
    }

    /// The place in the lane.
    pub(super) fn take_place(&mut self) -> Option<Slot> {
        self.slot.take()
    }

    /// Counts the call. Only the first time counts.
    pub(super) fn close(&mut self, ending: Ending) {
        if self.is_closed {
            return;
        }
        self.is_closed = true;
        let usage = self.usage();
        if !usage.is_zero() {
            self.accounts.book(&self.account, usage);
        }
        for mut reservation in self.reservations.drain(..) {
            reservation.settle(usage);
        }
        if let Some(mut slot) = self.slot.take() {
            slot.settle(usage.total_tokens());
            if ending == Ending::Answered {
                slot.lane().learn(usage.output_tokens);
            }
        }
        self.tell(ending, usage);
    }

    fn tell(&self, ending: Ending, usage: Usage) {
        self.span.record("gen_ai.usage.input_tokens", usage.input_tokens);
        self.span.record("gen_ai.usage.output_tokens", usage.output_tokens);
        self.span.record("segue.replayed", ending == Ending::Replayed);
        if let Some(status) = self.status {
            self.span.record("http.response.status_code", status.as_u16());
        }
        if !matches!(ending, Ending::Answered | Ending::Replayed) {
            self.span.record("error.type", ending.as_str());
        }
        if let Some(metrics) = &self.metrics {
            let model = ("model", self.model.as_str());
            metrics.add("segue_model_calls_total", &[model, ("outcome", ending.as_str())], 1);
            for (direction, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
                if tokens > 0 {
                    metrics.add("segue_model_tokens_total", &[model, ("direction", direction)], tokens);
                }
            }
        }
        if !self.account.progress.is_wanted() {
            return;
        }
        let ms = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
        let data = json!({
            "model": self.model,
            "provider": self.provider,
            "outcome": ending.as_str(),
            "status": self.status.map(|status| status.as_u16()),
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cached_input_tokens": usage.cached_input_tokens,
            "cost_usd": dollars(usage.cost_nanousd),
            "estimated": self.is_billed && self.figures.is_none(),
            "ms": ms(self.begun.elapsed()),
            "waited_ms": ms(self.turn.map_or(Duration::ZERO, |turn| turn.duration_since(self.begun))),
            "first_byte_ms": self.first_byte.map(ms),
            "replayed": ending == Ending::Replayed,
            "streamed": self.streamed,
        });
        self.account.progress.emit(Progress { name: "model.call", data });
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        self.close(Ending::Dropped);
    }
}
