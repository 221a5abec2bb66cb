//! The task that empties the outbox and looks at the audience.

use std::{sync::Arc, time::Instant};

use segue_core::ports::{BusError, Topic};
use tokio::time::{MissedTickBehavior, interval};

use crate::{backend::Speaker, bus::Shared, outage::Pauses};

/// Begins when this process first publishes; ends with the bus.
pub(crate) async fn run(shared: Arc<Shared>) {
    shared.speaking.notified().await;
    let mut pauses = Pauses::default();
    loop {
        let error = match shared.within(shared.backend.speaker()).await {
            Ok(mut speaker) => session(&shared, &mut *speaker, &mut pauses).await,
            Err(error) => error,
        };
        shared.audience.lose_sight();
        shared.reached.send_replace(Some(false));
        shared.outage.note(shared.backend.place(), &error);
        tokio::time::sleep(pauses.next()).await;
    }
}

/// One connection. Gives what ended it.
async fn session(shared: &Shared, speaker: &mut dyn Speaker, pauses: &mut Pauses) -> BusError {
    let mut looks = interval(shared.options.look_every);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let messages = tokio::select! {
            biased;
            _ = looks.tick() => None,
            () = shared.look.notified() => None,
            messages = shared.outbox.take() => Some(messages),
        };
        let Some(messages) = messages else {
            if let Err(error) = look(shared, speaker).await {
                return error;
            }
            pauses.reset();
            continue;
        };
        let to_all =
            shared.subscribers.is_listened(Topic::All) || shared.audience.may_include(Topic::All, Instant::now());
        if let Err(error) = shared.within(speaker.say(&messages, to_all)).await {
            shared.outbox.give_back(messages);
            return error;
        }
        shared.outbox.sent(shared.backend.place());
    }
}

async fn look(shared: &Shared, speaker: &mut dyn Speaker) -> Result<(), BusError> {
    let begun = Instant::now();
    let tags = shared.within(speaker.audience()).await?;
    shared.audience.looked(&tags, begun, Instant::now());
    shared.reached.send_replace(Some(true));
    shared.outage.end(shared.backend.place());
    Ok(())
}
