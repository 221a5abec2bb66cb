//! `segue runs …`

mod cancel;
mod delete;
mod events;
mod list;
mod rerun;
mod result;
mod retry;
mod show;
mod watch;

use crate::{args::RunsCommand, config::Settings, failure::Outcome};

pub(super) async fn runs(command: RunsCommand, settings: Settings) -> Outcome {
    match command {
        RunsCommand::List(args) => list::list(args, settings).await,
        RunsCommand::Show(args) => show::show(args, settings).await,
        RunsCommand::Watch(args) => watch::watch(args, settings).await,
        RunsCommand::Events(args) => events::events(args, settings).await,
        RunsCommand::Result(args) => result::result(args, settings).await,
        RunsCommand::Cancel(args) => cancel::cancel(args, settings).await,
        RunsCommand::Retry(args) => retry::retry(args, settings).await,
        RunsCommand::Rerun(args) => rerun::rerun(args, settings).await,
        RunsCommand::Delete(args) => delete::delete(args, settings).await,
    }
}
