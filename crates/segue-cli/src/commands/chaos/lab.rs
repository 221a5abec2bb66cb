//! The folder and the processes. A round is one run in a store of its own, which some process brings to its end.

use std::{
    fs,
    os::unix::process::ExitStatusExt,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use segue_core::verify::Verifier;
use serde_json::Value;
use tokio::{io::AsyncReadExt, process::Command, time::timeout};

use super::{Victim, choice::Kills, people, results::Results};
use crate::{
    args::ChaosArgs,
    chaos::{
        ledger::{self, Entry, Ledger, Line},
        plan::{Bug, Kill, Plan, Side, VARIABLE},
    },
    config::{Settings, StoreUrl},
    exit::Exit,
    failure::{Failure, Outcome},
    wiring::{self, Purpose, Session},
};

/// More processes than any round needs: one to be killed, one to be killed in recovery, and one after each answer.
const PROCESSES_MAX: usize = 64;

/// Names a bug to plant; builds for release plant none.
const BUG_VARIABLE: &str = "SEGUE_CHAOS_BUG";

/// Where the rounds take place.
pub(super) struct Lab {
    folder: Option<tempfile::TempDir>,
    keep: bool,
    /// Rounds whose folders stay.
    kept: Option<PathBuf>,
    program: PathBuf,
    settings: Settings,
    /// What a start is given.
    start: Vec<String>,
    answers: Vec<(String, Value)>,
    bug: Option<Bug>,
}

/// What a round has left.
pub(super) struct Ran {
    pub(super) ended: Ended,
    pub(super) ledger: Vec<Line>,
    pub(super) results: Results,
    /// What is wrong with the store.
    pub(super) damage: Vec<String>,
}

/// How a round ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// All runs have their final status, or should have.
    Well,
    /// A process did not come to an end in its time.
    TooLate,
    /// A process ended as none should.
    Badly(String),
}

impl Lab {
    /// Makes the folder.
    pub(super) fn set_up(args: &ChaosArgs, settings: Settings) -> Outcome<Self> {
        let cannot = |error: std::io::Error| Failure::internal(format!("a temporary folder cannot be made: {error}"));
        let folder = tempfile::Builder::new().prefix("segue-chaos-").tempdir().map_err(cannot)?;
        let program = std::env::current_exe().map_err(cannot)?;
        let mut start = vec![args.workflow.clone(), "--rehearse".to_owned()];
        start.extend(args.script.clone());
        start.extend(args.inputs.iter().flat_map(|input| ["-i".to_owned(), input.clone()]));
        start.extend(args.inputs_file.iter().flat_map(|file| ["--inputs".to_owned(), file.clone()]));
        // Whoever does not hear whether a start was accepted asks again with the same key.
        start.extend(["--idempotency-key", "chaos"].map(str::to_owned));
        let bug = std::env::var(BUG_VARIABLE).ok().and_then(|name| serde_json::from_value(Value::String(name)).ok());
        let answers = args.answers.clone();
        Ok(Self { folder: Some(folder), keep: args.keep, kept: None, program, settings, start, answers, bug })
    }

    /// The handler of nodes that name none.
    pub(super) fn default_task(&self) -> &str {
        &self.settings.default_task
    }

    /// The folder that stays, if one does.
    pub(super) fn kept(&self) -> Option<&Path> {
        self.kept.as_deref()
    }

    fn path(&self) -> &Path {
        self.folder.as_ref().expect("the folder goes last").path()
    }

    /// The round is judged: its files go, unless somebody will want to look at them.
    pub(super) fn finish(&mut self, round: &str, is_broken: bool) {
        if self.keep || is_broken {
            self.kept = Some(self.path().to_owned());
        } else {
            let _ = fs::remove_dir_all(self.path().join(round));
        }
    }

    /// Removes the folder, unless it is to be kept.
    pub(super) fn clear_away(&mut self) {
        if let Some(folder) = self.folder.take()
            && self.kept.is_some()
        {
            let _ = folder.keep();
        }
    }

    /// Makes what takes long and is made once: Python environments.
    pub(super) async fn prepare(&self, victim: &Victim, quiet: bool) -> Outcome<()> {
        let place = Place::make(&self.path().join("prepared"), &self.settings)?;
        let session = Session::start(place.settings, Purpose { quiet }).await?;
        let prepared = async {
            session.prepare(&victim.spec, &victim.base_dir).await?;
            for child in victim.family.members() {
                session.prepare(child, &victim.base_dir).await?;
            }
            Ok(())
        };
        let prepared = prepared.await;
        session.end().await;
        prepared
    }

    /// One run, from its start to its end, whoever is killed in between.
    pub(super) async fn round(&self, name: &str, kills: Kills, most: Duration) -> Outcome<Ran> {
        let place = Place::make(&self.path().join(name), &self.settings)?;
        let ended = self.processes(&place, kills, most).await?;
        let ledger = place.ledger()?;
        let (results, damage) = match place.has_store() {
            true => (Results::of(&*wiring::open_store(&place.settings).await?).await?, damage(&place.settings).await?),
            false => Default::default(),
        };
        let ended = match ended {
            Ended::Well if !results.is_over() => Ended::Badly("the program ended, and a run has not".to_owned()),
            ended => ended,
        };
        Ok(Ran { ended, ledger, results, damage })
    }

    async fn processes(&self, place: &Place, kills: Kills, most: Duration) -> Outcome<Ended> {
        let (mut kill, mut again) = (kills.first, kills.again);
        let mut was_killed = false;
        for _ in 0..PROCESSES_MAX {
            let lines = place.ledger()?;
            let moments = lines.iter().filter(|line| matches!(line.entry, Entry::Moment { .. })).count() as u64;
            let passed = if was_killed { 0 } else { moments };
            let is_started = lines.iter().any(|line| matches!(line.entry, Entry::Acknowledged { .. }));
            // The start that was killed around its record is simply asked for again.
            let is_start =
                !is_started || was_killed && kills.first.is_some_and(|kill| kill.moment == 1) && again.is_none();
            let plan = Plan { ledger: place.ledger.clone(), passed, kill, bug: self.bug };
            match self.process(place, is_start, &plan, most).await? {
                Stop::TooLate => return Ok(Ended::TooLate),
                Stop::Killed if place.killed() > usize::from(was_killed) => {
                    was_killed = true;
                    kill = again.take();
                    if kill.is_none() && place.killed() > 2 {
                        return Ok(Ended::Badly("more was killed than asked for".to_owned()));
                    }
                }
                Stop::Killed => return Ok(Ended::Badly("somebody else killed the program".to_owned())),
                Stop::Waits => {
                    let store = wiring::open_store(&place.settings).await?;
                    if people::answer_all(&*store, &self.answers).await? == 0 {
                        return Ok(Ended::Badly("it says that it waits for somebody, and nothing does".to_owned()));
                    }
                }
                Stop::Ended => return Ok(Ended::Well),
                Stop::Otherwise(why) => return Ok(Ended::Badly(why)),
            }
        }
        Ok(Ended::Badly(format!("it has not ended with {PROCESSES_MAX} processes")))
    }

    async fn process(&self, place: &Place, is_start: bool, plan: &Plan, most: Duration) -> Outcome<Stop> {
        let start: Vec<&str> = self.start.iter().map(String::as_str).collect();
        let words = if is_start { [&["run"], &start[..]].concat() } else { vec!["resume", "--all"] };
        let mut command = self.command(place, &words);
        command.arg("--no-wait");
        command.env(VARIABLE, serde_json::to_string(plan).expect("a plan can be written as JSON"));
        place.note(Entry::Spawned)?;
        self.carry_out(command, most).await
    }

    fn command(&self, place: &Place, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words).args(["--json", "--store"]).arg(place.settings.store.to_string());
        command.arg("--home").arg(&self.settings.home);
        // Ctrl-C is for whoever asked for chaos, not for its victims.
        command.process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    async fn carry_out(&self, mut command: Command, most: Duration) -> Outcome<Stop> {
        let cannot = |error: std::io::Error| Failure::internal(format!("the program cannot be started: {error}"));
        let mut child = command.spawn().map_err(cannot)?;
        let mut stderr = child.stderr.take().expect("it is piped");
        let mut said = Vec::new();
        let ended = async {
            // A worker that outlives its engine may hold the pipe: the end of the engine counts.
            let reading = tokio::spawn(async move {
                let _ = stderr.read_to_end(&mut said).await;
                said
            });
            let status = child.wait().await;
            let said = timeout(Duration::from_millis(200), reading).await.ok().and_then(Result::ok).unwrap_or_default();
            status.map(|status| (status, said))
        };
        Ok(match timeout(most, ended).await {
            Err(_) => Stop::TooLate,
            Ok(ended) => {
                let (status, said) = ended.map_err(cannot)?;
                Stop::of(status, &String::from_utf8_lossy(&said))
            }
        })
    }
}

/// What `segue store verify` finds.
async fn damage(settings: &Settings) -> Outcome<Vec<String>> {
    let (store, upkeep) = (wiring::open_store(settings).await?, wiring::upkeep(settings).await?);
    let mut verifier = Verifier::new(&*store, &*upkeep);
    verifier.verify_all().await?;
    Ok(verifier.report.findings.items.into_iter().map(|finding| finding.found).collect())
}

/// Why a process is gone.
enum Stop {
    Ended,
    Waits,
    Killed,
    TooLate,
    Otherwise(String),
}

impl Stop {
    fn of(status: ExitStatus, said: &str) -> Self {
        const ENDED: [i32; 3] = [Exit::Ok as i32, Exit::RunFailed as i32, Exit::RunCancelled as i32];
        match (status.code(), status.signal()) {
            (Some(code), _) if ENDED.contains(&code) => Self::Ended,
            (Some(code), _) if code == Exit::RunWaiting as i32 => Self::Waits,
            (None, Some(9)) => Self::Killed,
            _ => {
                let last = said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
                Self::Otherwise(format!("{status}: {}", last.trim()))
            }
        }
    }
}

/// The files of one round.
struct Place {
    ledger: PathBuf,
    settings: Settings,
}

impl Place {
    fn make(folder: &Path, settings: &Settings) -> Outcome<Self> {
        fs::create_dir_all(folder).map_err(|error| Failure::internal(format!("{}: {error}", folder.display())))?;
        let settings = Settings { store: StoreUrl::Sqlite(folder.join("segue.db")), ..settings.clone() };
        Ok(Self { ledger: folder.join("ledger.jsonl"), settings })
    }

    fn has_store(&self) -> bool {
        self.ledger.with_file_name("segue.db").exists()
    }

    fn ledger(&self) -> Outcome<Vec<Line>> {
        ledger::read(&self.ledger).map_err(|error| Failure::internal(format!("the ledger cannot be read: {error}")))
    }

    fn note(&self, entry: Entry) -> Outcome<()> {
        let ledger = Ledger::open(&self.ledger);
        let ledger = ledger.map_err(|error| Failure::internal(format!("the ledger cannot be written: {error}")))?;
        ledger.note(entry);
        Ok(())
    }

    /// How often the engine was killed as planned.
    fn killed(&self) -> usize {
        let lines = self.ledger().unwrap_or_default();
        let by_us = |line: &&Line| matches!(line.entry, Entry::Killed(Kill { side: Side::Before | Side::After, .. }));
        lines.iter().filter(by_us).count()
    }
}
