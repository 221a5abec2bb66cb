//! `segue serve`: an engine that carries out what others submit, until it is told to leave.

use std::{sync::Arc, time::Duration};

use segue_server::{Bound, PrometheusMetrics, Served, Server, ServerError};
use serde_json::{Value, json};

use crate::{
    answers::Answers,
    args::ServeArgs,
    config::{self, Settings, StoreUrl},
    exit::Exit,
    failure::{Failure, Outcome},
    render::text::{count, span},
    signals::Signals,
    terminal,
    wiring::{Serving, Session},
};

/// The log lines of an engine that nobody watches, unless somebody says which.
pub(super) const LOG: &str = "warn,segue=info";

pub(super) async fn serve(args: ServeArgs, settings: Settings) -> Outcome {
    let settings = with_flags(&args, settings)?;
    if settings.store == StoreUrl::Memory {
        return Err(Failure::usage("nobody could submit to a store in the memory of this process")
            .help("name a store that others can open: --store sqlite:PATH"));
    }
    let answers = Answers::of(args.script(), None, None)?;
    let mut signals = Signals::listen()?;
    let bound = Bound::to(settings.listen).await.map_err(refused)?;
    let metrics = Arc::new(PrometheusMetrics::default());
    let serving = Serving { metrics: metrics.clone(), rehearsal: args.is_rehearsal(), answers };
    let session = Session::start_serving(settings, serving).await?;
    let measure = session.measure(metrics.clone());
    let server = bound.serve(Served { engine: session.engine.clone(), metrics, measure });
    tell_ready(&session, &server, args.json);
    tokio::select! {
        _ = signals.next() => leave(session, server, signals, args.json).await,
        () = session.engine.stopped() => Err(gave_up(&session)),
    }
}

fn with_flags(args: &ServeArgs, mut settings: Settings) -> Outcome<Settings> {
    if let Some(listen) = &args.listen {
        settings.listen = config::listen(listen).map_err(|why| Failure::usage(format!("--listen: {why}")))?;
    }
    if let Some(drain) = args.drain {
        settings.drain = Duration::try_from_secs_f64(drain).unwrap_or(Duration::MAX);
    }
    if let Some(lease) = args.lease {
        settings.lease = config::lease(lease).map_err(|why| Failure::usage(format!("--lease: {why}")))?;
    }
    Ok(settings)
}

fn refused(error: ServerError) -> Failure {
    match error {
        ServerError::NotLoopback(_) => Failure::usage(error.to_string())
            .help("listen on 127.0.0.1 or [::1]; who asks from elsewhere comes through a proxy on this machine that knows them"),
        ServerError::Listen { .. } => Failure::new(Exit::Unreachable, error.to_string())
            .help("--listen 127.0.0.1:0 takes a port that is free; two engines on one machine need one each"),
    }
}

/// From here on it takes work: for people on stderr, for programs on stdout.
fn tell_ready(session: &Session, server: &Server, json: bool) {
    let (url, store) = (format!("http://{}", server.address()), session.settings.store.to_string());
    if json {
        tell(&json!({
            "event": "ready",
            "url": url,
            "engine_id": session.engine.id(),
            "store": store,
            "pid": std::process::id(),
        }));
        return;
    }
    terminal::say(format!("engine {} carries out what is submitted to {store}", session.engine.id()));
    terminal::say("Ctrl-C or SIGTERM: leave in good order; /healthz, /readyz and /metrics are at");
    terminal::print(url);
}

fn tell(line: &Value) {
    terminal::print(line.to_string());
}

/// Drains; a second signal leaves at once.
async fn leave(session: Session, server: Server, mut signals: Signals, json: bool) -> Outcome {
    let (drain, runs) = (session.settings.drain, session.engine.state().runs_live);
    if json {
        tell(&json!({ "event": "leaving", "runs": runs, "drain_seconds": drain.as_secs_f64() }));
    } else if runs > 0 {
        let runs = count(runs as u64, "run");
        terminal::say(format!(
            "leaving; the tasks of {runs} get {} to finish; a second signal leaves at once",
            span(drain)
        ));
    }
    let engine = session.engine.clone();
    tokio::select! {
        () = engine.shut_down_within(drain) => {}
        _ = signals.next() => {
            if json {
                tell(&json!({ "event": "left", "at_once": true }));
            } else {
                terminal::say("left at once; other engines, or this one when it is started again, go on with the runs");
            }
            return Ok(Exit::Interrupted);
        }
    }
    if engine.failure().is_some() {
        return Err(gave_up(&session));
    }
    session.end().await;
    server.shutdown().await;
    if json {
        tell(&json!({ "event": "left", "at_once": false }));
    } else {
        terminal::say("left in good order");
    }
    Ok(Exit::Ok)
}

/// The engine has stopped by itself.
fn gave_up(session: &Session) -> Failure {
    let why = session.engine.failure().unwrap_or("the engine has stopped");
    Failure::new(Exit::Unreachable, format!("the store cannot be used: {why}"))
        .help("`segue doctor` checks the store; started again, the engine goes on where it was")
}
