//! The gateway itself: a server, and what its calls share.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{http::HeaderMap, response::Response};
use hyper::body::Bytes;
use segue_core::{
    outcome::{ErrorKind, TaskError, Usage},
    ports::{Invocation, MetricsCollector, ModelAccess, ModelDoor, ModelJournal},
};
use serde_json::Value;
use tokio::runtime::Handle;

use crate::{
    GatewayError,
    account::{Account, Accounts, Holder},
    ask::Endpoint,
    budget::Ledgers,
    call,
    chat::ApiError,
    clock::Clock,
    door::Door,
    lane::{Lane, Limits},
    options::{GatewayOptions, ModelOptions, Price, ProviderKey, ProviderOptions, SharedLimits, closest},
    routes, server,
    upstream::{Caller, Provider, RehearsalModel, Upstream},
};

/// Lanes that are kept; beyond it those that nobody uses are forgotten.
const LANES_MAX: usize = 4096;

/// How long a gateway that ends waits for the store of limits.
const FLUSH_PATIENCE: Duration = Duration::from_secs(2);

/// A running gateway. Dropping it breaks the calls in progress; [`Gateway::shutdown`] lets them finish.
pub struct Gateway {
    server: segue_listen::Server,
    shared: Arc<Shared>,
    runtime: Handle,
}

impl Gateway {
    /// Listens on a free port of 127.0.0.1. Runs on the current tokio runtime.
    pub async fn start(options: GatewayOptions) -> Result<Self, GatewayError> {
        let shared = Arc::new(Shared::new(options)?);
        let server = server::start(routes::api(shared.clone())).await?;
        Ok(Self { server, shared, runtime: Handle::current() })
    }

    /// What a client takes as its base URL: `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.server.address())
    }

    /// What all attempts have consumed so far.
    pub fn usage(&self) -> Usage {
        self.shared.accounts.total()
    }

    /// How many calls wait for their turn under this model's limits.
    pub fn waiting(&self, model: &str) -> usize {
        self.shared.route(model, false).map_or(0, |route| route.lane.waiting())
    }

    /// Takes no more calls, lets those in progress finish for two seconds, then breaks them. Gives their slots of shared
    /// limits back, if the store answers within two seconds more. Repeatable.
    pub async fn shutdown(&self) {
        self.server.shutdown().await;
        if tokio::time::timeout(FLUSH_PATIENCE, self.shared.flushed()).await.is_err() {
            tracing::warn!(
                "some slots of models' limits could not be given back; they are free when the engine's lease ends"
            );
        }
    }
}

impl Gateway {
    /// As [`ModelAccess::open`].
    pub(crate) fn door(&self, invocation: &Invocation) -> Result<Door, TaskError> {
        let context = &invocation.context;
        if !invocation.rehearsal && self.shared.providers.is_empty() && self.shared.player.is_none() {
            return Err(TaskError::new(ErrorKind::Auth, "no model provider is set up"));
        }
        let account = Arc::new(Account::new(Holder {
            name: format!("{}/{}@{}", context.run_id, context.task_id, context.attempt),
            caller: Caller {
                run_id: context.run_id,
                task: context.task_id.clone(),
                effect_key: context.effect_key.clone(),
                attempt: context.attempt,
            },
            since: since(invocation)?,
            rehearsal: invocation.rehearsal,
            progress: invocation.progress.clone(),
            ledgers: self.shared.ledgers.of(context.run_id, &invocation.budgets),
        }));
        let (cancelled, ended) = (invocation.cancel.cancelled(), account.ended.clone());
        // What is no longer wanted is not paid for: its calls end at once, not when the attempt has noticed.
        self.runtime.spawn(async move {
            tokio::select! {
                () = cancelled => ended.cancel(),
                () = ended.cancelled() => {}
            }
        });
        Ok(Door { base_url: self.base_url(), key: self.shared.accounts.issue(account) })
    }

    /// Answers a call of this process itself, as one over the wire.
    pub(crate) async fn ask(&self, door: &Door, endpoint: Endpoint, body: Bytes) -> Response {
        call::answer(self.shared.clone(), door.key.account().clone(), endpoint, HeaderMap::new(), body).await
    }
}

impl ModelAccess for Gateway {
    fn open(&self, invocation: &Invocation) -> Result<Box<dyn ModelDoor>, TaskError> {
        Ok(Box::new(self.door(invocation)?))
    }
}

/// The first attempt whose answers this one may be given, by what the node's hints say of the journal: `crash` (as the
/// context says), `off` (none but its own) or `always` (all).
fn since(invocation: &Invocation) -> Result<u32, TaskError> {
    let context = &invocation.context;
    let family = match invocation.handler.as_str().split('.').next().unwrap_or_default() {
        // One adapter, and one set of hints.
        "langgraph" => "langchain",
        family => family,
    };
    match invocation.hints.get(family).and_then(|own| own.get("journal")) {
        None | Some(Value::Null) => Ok(context.answers_since),
        Some(Value::String(word)) if word == "crash" => Ok(context.answers_since),
        Some(Value::String(word)) if word == "off" => Ok(context.attempt),
        Some(Value::String(word)) if word == "always" => Ok(1),
        Some(other) => Err(TaskError::new(
            ErrorKind::InvalidInput,
            format!("`hints.{family}.journal` is `off`, `crash` or `always`, not {other}"),
        )),
    }
}

/// What all calls share.
pub(crate) struct Shared {
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) metrics: Option<Arc<dyn MetricsCollector>>,
    pub(crate) journal: Arc<dyn ModelJournal>,
    pub(crate) providers: Vec<ProviderOptions>,
    upstreams: Vec<Arc<dyn Upstream>>,
    rehearsal: Arc<dyn Upstream>,
    /// Answers in the place of all providers.
    player: Option<Arc<dyn Upstream>>,
    pub(crate) models: Vec<ModelOptions>,
    ledgers: Ledgers,
    lanes: Mutex<HashMap<LaneName, Arc<Lane>>>,
    limits: Option<SharedLimits>,
    clock: Clock,
}

/// The models that an entry of the options names share a lane; each other model of a provider has its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum LaneName {
    Entry(usize),
    Model { provider: String, model: String },
}

/// The way of a call.
pub(crate) struct Route {
    pub(crate) upstream: Arc<dyn Upstream>,
    pub(crate) lane: Arc<Lane>,
    pub(crate) price: Option<Price>,
    pub(crate) stream_usage: bool,
}

impl Shared {
    fn new(options: GatewayOptions) -> Result<Self, GatewayError> {
        let GatewayOptions { providers, models, journal, script, cassette, metrics, limits, clock } = options;
        let upstream = |provider: &ProviderOptions| -> Result<Arc<dyn Upstream>, GatewayError> {
            let provider: Arc<dyn Upstream> = Arc::new(Provider::new(provider)?);
            Ok(cassette.as_ref().map_or(provider.clone(), |cassette| cassette.around(provider)))
        };
        Ok(Self {
            accounts: Arc::default(),
            journal,
            upstreams: providers.iter().map(upstream).collect::<Result<_, _>>()?,
            providers,
            rehearsal: Arc::new(RehearsalModel::new(script)),
            player: cassette.as_ref().and_then(|cassette| cassette.player()),
            models,
            ledgers: Ledgers::default(),
            lanes: Mutex::default(),
            metrics,
            limits,
            clock,
        })
    }

    /// Who answers for this model, and under which limits.
    pub(crate) fn route(&self, model: &str, rehearsal: bool) -> Result<Route, ApiError> {
        let itself = if rehearsal { Some(&self.rehearsal) } else { self.player.as_ref() };
        if let Some(upstream) = itself {
            let name = LaneName::Model { provider: upstream.name().to_owned(), model: model.to_owned() };
            let lane = self.lane(name, Limits::default());
            return Ok(Route { upstream: upstream.clone(), lane, price: None, stream_usage: true });
        }
        let provider = self.provider_of(model).ok_or_else(|| ApiError::no_provider(model))?;
        let options = &self.providers[provider];
        if let ProviderKey::Missing(why) = &options.key {
            return Err(ApiError::no_provider_key(&options.name, why));
        }
        let entry = closest(self.models.iter().map(|entry| entry.pattern.as_str()), model);
        let settings = entry.map(|at| &self.models[at]);
        let (name, limits) = match entry {
            Some(at) => (LaneName::Entry(at), limits(&self.models[at])),
            None => {
                let name = LaneName::Model { provider: options.name.clone(), model: model.to_owned() };
                (name, Limits::default())
            }
        };
        Ok(Route {
            upstream: self.upstreams[provider].clone(),
            lane: self.lane(name, limits),
            price: settings.and_then(|entry| entry.price),
            stream_usage: options.stream_usage,
        })
    }

    /// Waits until the store of limits knows of all calls that are over.
    async fn flushed(&self) {
        let lanes: Vec<_> = self.lanes.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        for lane in lanes {
            lane.flushed().await;
        }
    }

    /// The provider whose patterns fit most closely; one that names none serves what no other does.
    fn provider_of(&self, model: &str) -> Option<usize> {
        let mut named: Vec<(usize, &str)> = Vec::new();
        for (at, provider) in self.providers.iter().enumerate() {
            named.extend(provider.models.iter().map(|pattern| (at, pattern.as_str())));
            if provider.models.is_empty() {
                named.push((at, "*"));
            }
        }
        closest(named.iter().map(|(_, pattern)| *pattern), model).map(|found| named[found].0)
    }

    fn lane(&self, name: LaneName, limits: Limits) -> Arc<Lane> {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        if lanes.len() > LANES_MAX {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let lane = || {
            let own = Lane::new(limits, self.clock.clone());
            Arc::new(match &name {
                LaneName::Entry(at) => own.shared(&self.models[*at].pattern, limits, self.limits.clone()),
                LaneName::Model { .. } => own,
            })
        };
        if let Some(known) = lanes.get(&name) {
            return known.clone();
        }
        let lane = lane();
        lanes.insert(name, lane.clone());
        lane
    }
}

const fn limits(entry: &ModelOptions) -> Limits {
    Limits {
        concurrent: entry.concurrent,
        requests_per_minute: entry.requests_per_minute,
        tokens_per_minute: entry.tokens_per_minute,
    }
}
