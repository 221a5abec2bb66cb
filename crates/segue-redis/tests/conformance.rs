//! The suite of the port, against a real server.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use segue_core::ports::EventBus;
use segue_testkit::{event_bus_suite, services};

fn fresh() -> Arc<dyn EventBus> {
    Arc::new(common::bus(&services::redis(), &common::own_prefix()))
}

event_bus_suite!(fresh);
