//! `segue store backup` and `segue store migrate`: what is done before an upgrade.

use serde_json::json;

use crate::{
    args::{StoreBackupArgs, StoreMigrateArgs},
    config::Settings,
    exit::Exit,
    failure::Outcome,
    render::text::bytes,
    terminal, wiring,
};

pub(super) async fn backup(args: StoreBackupArgs, settings: Settings) -> Outcome {
    wiring::must_exist(&settings)?;
    let copied = wiring::upkeep(&settings).await?.backup(&args.to).await?;
    let to = args.to.display();
    if args.json {
        terminal::print(json!({ "copy": args.to, "bytes": copied.bytes }).to_string());
    } else {
        terminal::say(format!(
            "copied to {to}: {}; `segue store verify --store sqlite:{to}` checks the copy",
            bytes(copied.bytes)
        ));
    }
    Ok(Exit::Ok)
}

pub(super) async fn migrate(args: StoreMigrateArgs, settings: Settings) -> Outcome {
    wiring::must_exist(&settings)?;
    let upkeep = wiring::upkeep(&settings).await?;
    let before = if args.check { upkeep.schema().await? } else { upkeep.migrate().await? };
    let is_due = args.check && !before.is_current();
    if args.json {
        let schema = if args.check { before.found } else { before.known };
        let document = json!({ "from": before.found, "schema": schema, "known": before.known, "due": is_due });
        terminal::print(document.to_string());
    } else {
        terminal::say(match (before.is_current(), args.check) {
            (true, _) => format!("the schema is {}: there is nothing to do", before.found),
            (false, true) => format!(
                "the schema is {}, and this program works with {}: `segue store migrate` brings it there",
                before.found, before.known
            ),
            (false, false) => format!("the schema is {} now; it was {}", before.known, before.found),
        });
    }
    Ok(if is_due { Exit::Internal } else { Exit::Ok })
}
