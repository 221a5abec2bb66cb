//! `segue store …`: what the store holds, whether it is whole, what may go, copies of it.

mod copies;
mod gc;
mod status;
mod verify;

use crate::{args::StoreCommand, config::Settings, failure::Outcome};

pub(super) async fn store(command: StoreCommand, settings: Settings) -> Outcome {
    match command {
        StoreCommand::Status(args) => status::status(args, settings).await,
        StoreCommand::Verify(args) => verify::verify(args, settings).await,
        StoreCommand::Migrate(args) => copies::migrate(args, settings).await,
        StoreCommand::Gc(args) => gc::collect(args, settings).await,
        StoreCommand::Backup(args) => copies::backup(args, settings).await,
    }
}
