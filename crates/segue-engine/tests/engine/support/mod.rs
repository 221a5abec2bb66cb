//! Engines on a store that can fail, with an adapter that the test answers for, and a journal of both.

mod scripted;
mod world;

pub use scripted::Call;

pub use world::{World, settle};

/// Declares each named test once for every store.
macro_rules! on_every_store {
    ($($name:ident),+ $(,)?) => {
        mod memory {
            use crate::support::World;
            $(
                #[tokio::test(start_paused = true)]
                async fn $name() {
                    super::$name(World::in_memory()).await;
                }
            )+
        }

        mod sqlite {
            use crate::support::World;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::$name(World::on_sqlite()).await;
                }
            )+
        }
    };
}
pub(crate) use on_every_store;
