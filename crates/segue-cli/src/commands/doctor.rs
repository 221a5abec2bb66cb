//! `segue doctor`: can this machine run workflows, and what to do where it cannot.

use segue_core::ports::Topic;
use segue_gateway::{GatewayOptions, ProviderKey};
use segue_worker::environment::Explanation;
use serde_json::json;

use crate::{
    args::DoctorArgs,
    config::{BusUrl, Settings, StoreUrl},
    exit::Exit,
    failure::Outcome,
    terminal::{self, Paint},
    wiring,
};

/// One thing that was looked at.
struct Finding {
    name: &'static str,
    state: State,
    found: String,
    /// What to do about it, where something is to be done.
    help: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Good,
    /// Works, but not for everything.
    Limited,
    Bad,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Limited => "limited",
            Self::Bad => "broken",
        }
    }
}

pub(super) async fn doctor(args: DoctorArgs, settings: Settings) -> Outcome {
    let mut findings = vec![store(&settings).await, bus(&settings).await, rehearsal().await, provider(&settings)];
    findings.extend(wiring::explain_python(&settings).await.map(|(name, explained)| python(name, explained)));
    let bad = findings.iter().any(|finding| finding.state == State::Bad);
    if args.json {
        let checks: Vec<_> = findings
            .iter()
            .map(|finding| {
                json!({
                    "check": finding.name,
                    "state": finding.state.name(),
                    "found": finding.found,
                    "help": finding.help,
                })
            })
            .collect();
        terminal::print(json!({ "healthy": !bad, "version": env!("CARGO_PKG_VERSION"), "checks": checks }).to_string());
    } else {
        let paint = Paint::stdout();
        terminal::print(format!("segue {}", env!("CARGO_PKG_VERSION")));
        for finding in &findings {
            let state = match finding.state {
                State::Good => finding.state.name().to_owned(),
                State::Limited => paint.help(finding.state.name()),
                State::Bad => paint.bad(finding.state.name()),
            };
            let pad = " ".repeat(9 - finding.state.name().len());
            terminal::print(format!("{state}{pad}{:<10} {}", finding.name, finding.found));
            if let Some(help) = &finding.help {
                terminal::print(format!("{:20}{} {help}", "", paint.help("help:")));
            }
        }
    }
    Ok(if bad { Exit::Unreachable } else { Exit::Ok })
}

async fn store(settings: &Settings) -> Finding {
    let name = "store";
    if settings.store == StoreUrl::Memory {
        let help = Some("runs are gone with their process; name a file with --store sqlite:PATH".to_owned());
        return Finding { name, state: State::Limited, found: "memory:".to_owned(), help };
    }
    if wiring::must_exist(settings).is_err() {
        let found = format!("{} (not there yet; the first run makes it)", settings.store);
        return Finding { name, state: State::Good, found, help: None };
    }
    let looked = async {
        let store = wiring::open_store(settings).await?;
        Ok::<_, crate::failure::Failure>(store.list_runs(segue_core::ports::RunFilter::default()).await?.len())
    };
    match looked.await {
        Ok(runs) => {
            let found = format!("{}, {}", settings.store, crate::render::text::count(runs as u64, "run"));
            Finding { name, state: State::Good, found, help: None }
        }
        Err(failure) => {
            Finding { name, state: State::Bad, found: failure.to_string(), help: failure.help.first().cloned() }
        }
    }
}

/// A bus that reaches other processes is asked; the process's own needs nothing.
async fn bus(settings: &Settings) -> Finding {
    let name = "bus";
    let told = settings.bus.to_string();
    let bad = |found: String, help: Option<String>| Finding { name, state: State::Bad, found, help };
    let bus = match wiring::open_store_and_bus(settings).await {
        Ok((_, bus)) if bus.reaches_others() => bus,
        Err(failure) if settings.bus != BusUrl::Auto && wiring::must_exist(settings).is_ok() => {
            return bad(failure.to_string(), failure.help.first().cloned());
        }
        Ok(_) | Err(_) => return Finding { name, state: State::Good, found: told, help: None },
    };
    match bus.port().subscribe(Topic::All).await {
        Ok(_) => Finding { name, state: State::Good, found: told, help: None },
        Err(error) => {
            bad(error.to_string(), Some("runs go on without it; who watches them reads the store".to_owned()))
        }
    }
}

async fn rehearsal() -> Finding {
    let name = "rehearsal";
    match wiring::start_gateway(GatewayOptions::new(wiring::no_journal())).await {
        Ok(gateway) => {
            let found = format!("the built-in model answers on {}", gateway.base_url());
            gateway.shutdown().await;
            Finding { name, state: State::Good, found, help: None }
        }
        Err(failure) => {
            Finding { name, state: State::Bad, found: failure.to_string(), help: failure.help.first().cloned() }
        }
    }
}

/// Says who is asked and whether a key is there, never which.
fn provider(settings: &Settings) -> Finding {
    let name = "provider";
    let missing = settings.models.provider_options().into_iter().find_map(|provider| match provider.key {
        ProviderKey::Missing(why) => Some(format!("`{}` has no key: {why}", provider.name)),
        ProviderKey::None | ProviderKey::Given(_) => None,
    });
    if let Some(found) = missing {
        return Finding { name, state: State::Limited, found, help: None };
    }
    if settings.models.has_no_provider() {
        let help = Some("set OPENAI_API_KEY to run with a provider; --rehearse needs none".to_owned());
        return Finding { name, state: State::Limited, found: "no key is set".to_owned(), help };
    }
    let found = settings.models.told().collect::<Vec<_>>().join(", ");
    Finding { name, state: State::Good, found, help: None }
}

fn python(name: &'static str, explained: Explanation) -> Finding {
    let reasons = explained.reasons.join("; ");
    match explained.chosen {
        Some(chosen) if explained.is_to_be_made => {
            let found = format!("{} (the first run with tasks of its kind makes it)", chosen.python.display());
            Finding { name, state: State::Good, found, help: Some(reasons).filter(|text| !text.is_empty()) }
        }
        Some(chosen) => Finding { name, state: State::Good, found: chosen.python.display().to_string(), help: None },
        None => {
            let found = "no suitable Python was found; processes run without it".to_owned();
            Finding { name, state: State::Limited, found, help: Some(reasons) }
        }
    }
}
