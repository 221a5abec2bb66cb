//! Where events are published to, by the setting `bus`.

use std::sync::Arc;

use segue_bus::BusOptions;
use segue_core::{
    memory::MemoryBus,
    ports::{EventBus, RunStore},
};
use segue_postgres::PostgresBus;
use segue_redis::{RedisBus, RedisOptions};

use super::stores::{Stores, must_exist, open_stores};
use crate::{
    config::{BusUrl, Settings},
    failure::{Failure, Outcome},
};

/// The bus of a process.
#[derive(Clone)]
pub(crate) enum Bus {
    Memory(Arc<MemoryBus>),
    Postgres(Arc<PostgresBus>),
    Redis(Arc<RedisBus>),
}

impl Bus {
    /// The bus that the settings name, beside these stores. Waits for no server: who publishes does not need it.
    pub(super) fn open(settings: &Settings, stores: &Stores) -> Outcome<Self> {
        Ok(match (&settings.bus, &stores.postgres) {
            (BusUrl::Redis(url), _) => {
                let bus = RedisBus::connect(url.secret(), RedisOptions::default()).map_err(|error| {
                    Failure::invalid(error.to_string())
                        .help("`segue config show --origin` says where the address comes from")
                })?;
                Self::Redis(Arc::new(bus))
            }
            (BusUrl::Postgres | BusUrl::Auto, Some(store)) => {
                Self::Postgres(Arc::new(PostgresBus::new(store.clone(), BusOptions::default())))
            }
            (BusUrl::Postgres, None) => {
                let why =
                    format!("`postgres:` is the bus of a store on PostgreSQL, and this store is {}", settings.store);
                return Err(
                    Failure::usage(why).help("leave the bus out, or name one on Redis: --bus redis://HOST:PORT")
                );
            }
            (BusUrl::Memory | BusUrl::Auto, _) => Self::Memory(Arc::default()),
        })
    }

    /// For who publishes and who listens.
    pub(crate) fn port(&self) -> Arc<dyn EventBus> {
        match self {
            Self::Memory(bus) => bus.clone(),
            Self::Postgres(bus) => bus.clone(),
            Self::Redis(bus) => bus.clone(),
        }
    }

    /// Can others than this process hear it?
    pub(crate) const fn reaches_others(&self) -> bool {
        !matches!(self, Self::Memory(_))
    }

    /// For who listens to what another process does; none where the bus ends with this one.
    pub(crate) fn to_others(&self) -> Option<Arc<dyn EventBus>> {
        self.reaches_others().then(|| self.port())
    }

    /// Waits, for a bounded time, until what was published is sent. For the end of a process.
    pub(crate) async fn flush(&self) {
        match self {
            Self::Memory(_) => {}
            Self::Postgres(bus) => bus.flush().await,
            Self::Redis(bus) => bus.flush().await,
        }
    }
}

/// The store, to be read, and the bus on which its events are told.
pub(crate) async fn open_store_and_bus(settings: &Settings) -> Outcome<(Arc<dyn RunStore>, Bus)> {
    let (stores, bus) = open_stores_and_bus(settings).await?;
    Ok((stores.runs, bus))
}

/// As [`open_store_and_bus`], with all that the store keeps.
pub(crate) async fn open_stores_and_bus(settings: &Settings) -> Outcome<(Stores, Bus)> {
    must_exist(settings)?;
    let stores = open_stores(settings).await?;
    let bus = Bus::open(settings, &stores)?;
    Ok((stores, bus))
}
