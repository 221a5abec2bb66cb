//! A store of limits to which things happen.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures_util::stream::BoxStream;
use segue_core::{
    ids::{EngineId, LimitKey, TaskRunId},
    ports::{Acquire, Admission, Freed, LimitRequest, LimitStore, LimitView, StoreError},
};

use super::{
    fate::{Faults, Kind},
    signals,
};

/// A [`LimitStore`] to which things happen. What a test plans ([`Faults::fail_next`]) is for [`LimitStore::acquire`].
pub struct FaultLimits {
    /// The store itself: what is asked here is answered truly.
    pub inner: Arc<dyn LimitStore>,
    /// What goes wrong.
    pub faults: Arc<Faults>,
}

impl FaultLimits {
    /// Wraps `inner`.
    pub fn new(inner: Arc<dyn LimitStore>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }
}

#[async_trait]
impl LimitStore for FaultLimits {
    /// Never twice unless planned: what is granted is never unheard *and* answered.
    async fn acquire(&self, acquire: Acquire) -> Result<Vec<Admission>, StoreError> {
        let call = || {
            let (inner, acquire) = (self.inner.clone(), acquire.clone());
            async move { inner.acquire(acquire).await }
        };
        self.faults.around(Kind::Slots, call).await
    }

    async fn release(&self, engine: &EngineId, freed: Vec<Freed>) -> Result<(), StoreError> {
        let call = || {
            let (inner, engine, freed) = (self.inner.clone(), engine.clone(), freed.clone());
            async move { inner.release(&engine, freed).await }
        };
        self.faults.around(Kind::Upkeep, call).await
    }

    async fn leave(&self, engine: &EngineId, requests: Vec<LimitRequest>) -> Result<(), StoreError> {
        let call = || {
            let (inner, engine, requests) = (self.inner.clone(), engine.clone(), requests.clone());
            async move { inner.leave(&engine, requests).await }
        };
        self.faults.around(Kind::Upkeep, call).await
    }

    async fn pause(&self, keys: Vec<LimitKey>, span: Duration) -> Result<(), StoreError> {
        let call = || {
            let (inner, keys) = (self.inner.clone(), keys.clone());
            async move { inner.pause(keys, span).await }
        };
        self.faults.around(Kind::Upkeep, call).await
    }

    async fn held(&self, engine: &EngineId) -> Result<Vec<(TaskRunId, LimitKey)>, StoreError> {
        let call = || {
            let (inner, engine) = (self.inner.clone(), engine.clone());
            async move { inner.held(&engine).await }
        };
        self.faults.around(Kind::Read, call).await
    }

    async fn look(&self, keys: Vec<LimitKey>) -> Result<Vec<LimitView>, StoreError> {
        let call = || {
            let (inner, keys) = (self.inner.clone(), keys.clone());
            async move { inner.look(keys).await }
        };
        self.faults.around(Kind::Read, call).await
    }

    fn limit_signals(&self) -> BoxStream<'static, LimitKey> {
        signals::heard(self.inner.limit_signals(), self.faults.clone())
    }
}
