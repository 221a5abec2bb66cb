//! What an engine can be told.

use std::{collections::BTreeMap, time::Duration};

use segue_core::{
    ids::{EngineId, HandlerId},
    ports::OwnerProof,
};
use uuid::Uuid;

use crate::{clock::Clock, lease::own_proof};

/// How an engine behaves. The default suits one process on one machine.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// Names this process among those that share the store. Drawn anew by default; never one that was used before.
    pub engine_id: EngineId,
    /// By what others on this machine can see that it is gone.
    pub proof: OwnerProof,
    /// How long the engine's runs are its own without a sign of life; renewed three times as often.
    pub lease_ttl: Duration,
    /// How long after a cancel an attempt may take to end by itself.
    pub grace: Duration,
    /// How long a shutdown lets attempts go on before it hands them back.
    pub drain: Duration,
    /// Carries out nodes that name no handler.
    pub default_handler: HandlerId,
    /// Attempts of an adapter, by its name, that may be alive at once. Adapters not named have no limit.
    pub concurrency: BTreeMap<String, u32>,
    /// How often to look for runs that nobody owns; `None`: only when told to. That is the slow way: a run that is left to be
    /// claimed, and an engine of this machine that is gone, are noticed at once.
    pub claim_every: Option<Duration>,
    /// At most this many runs are taken by one such look, so that several engines share what there is.
    pub claim_max: usize,
    /// An engine that looks for runs takes none beyond this many, and leaves what is started here to be claimed. Runs that
    /// wait for a person, a time or another run do not count; child runs of its own runs are always taken.
    pub live_max: usize,
    /// What time it is. Set to the store's time when the engine starts, if the two differ.
    pub clock: Clock,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            engine_id: EngineId::new(Uuid::now_v7().to_string()),
            proof: own_proof(),
            lease_ttl: Duration::from_secs(15),
            grace: Duration::from_secs(5),
            drain: Duration::from_secs(30),
            default_handler: HandlerId::from("pass"),
            concurrency: BTreeMap::new(),
            claim_every: None,
            claim_max: 64,
            live_max: 1_000,
            clock: Clock::start(),
        }
    }
}
