//! The command line: what can be asked, in clap's terms. No behaviour.

mod answers;
mod chaos;
mod run;
mod runs;
mod serve;
mod span;
mod store;
mod workflow;
mod workflows;

use std::path::PathBuf;

use clap::{
    ArgAction, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    builder::styling::{AnsiColor, Styles},
};

pub(crate) use answers::{
    AnswerArgs, ApprovalsCommand, ApprovalsListArgs, ApprovalsShowArgs, QuestionArg, SignalArgs, ThenArgs,
};
pub(crate) use chaos::ChaosArgs;
pub(crate) use run::{ResumeArgs, RunArgs, StartArgs, SubmitArgs};
pub(crate) use runs::{
    CancelArgs, DeleteArgs, EventsArgs, ListArgs, RerunArgs, ResultArgs, RetryArgs, RunsCommand, ShowArgs, WatchArgs,
};
pub(crate) use serve::ServeArgs;
pub(crate) use store::{
    StoreBackupArgs, StoreCommand, StoreGcArgs, StoreMigrateArgs, StoreStatusArgs, StoreVerifyArgs,
};
pub(crate) use workflow::{
    ExplainArgs, GraphArgs, GraphFormat, InitArgs, ReportFormat, SchemaArgs, SchemaSubject, Template, ValidateArgs,
};
pub(crate) use workflows::{
    WorkflowsCommand, WorkflowsDeployArgs, WorkflowsHistoryArgs, WorkflowsListArgs, WorkflowsShowArgs,
};

use crate::config::LogFormat;

/// Runs agent workflows and finishes them: declared in YAML, durable, resumable after any crash.
#[derive(Debug, Parser)]
#[command(name = "segue", version, styles = STYLES, disable_help_subcommand = true)]
#[command(before_help = "\
  segue init demo                                  a first workflow in a new folder
  segue run demo/workflow.yaml --rehearse          run it with the built-in model: no key, no cost
  segue validate workflow.yaml                     all problems at once, with line and cure
  segue resume --all                               go on with what a crash or Ctrl-C left
  segue serve                                      carry out what others submit
  segue runs show @last                            what the newest run has come to")]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Top,
    /// What holds for every command.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
}

/// Options of every command. Each stands above the environment and the configuration files.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct GlobalArgs {
    /// Where runs are kept: `sqlite:PATH`, `postgres://USER@HOST/DATABASE` or `memory:` [config: store]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) store: Option<String>,
    /// Where events are published: `memory:`, `postgres:` or `redis://HOST:PORT` [config: bus]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) bus: Option<String>,
    /// The folder of what Segue makes for itself, such as Python environments [config: home]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,
    /// How log lines are written to stderr [config: log_format]
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    pub(crate) log_format: Option<LogFormat>,
    /// More log lines on stderr: -v what happens, -vv how, -vvv everything
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Top {
    /// Write a first workflow into a folder
    #[command(before_help = "\
  segue init                             workflow.yaml in this folder
  segue init demo --template crewai      a CrewAI project in the new folder demo")]
    Init(InitArgs),
    /// Check workflow documents; report every problem with its place and cure
    #[command(before_help = "\
  segue validate workflow.yaml
  segue validate flows/*.yaml --strict                 warnings count as errors
  make-workflow | segue validate - --format json       from stdin, for programs")]
    Validate(ValidateArgs),
    /// Explain a rule that `validate` names: how it comes to be broken, and what to do
    #[command(before_help = "\
  segue explain not-an-ancestor
  segue explain                                        all rules, a line each")]
    Explain(ExplainArgs),
    /// Run a workflow and see it to its end
    #[command(before_help = "\
  segue run workflow.yaml --rehearse                   with the built-in model: no key, no cost
  segue run workflow.yaml -i topic=tea -i 'depth=3'    values for the workflow's params
  segue run workflow.yaml --json > result.json         one document on stdout, nothing else
  segue run workflow.yaml --idempotency-key order-17   however often it is called: one run
  segue run support_triage                             a deployed workflow")]
    Run(RunArgs),
    /// Record a run, print its id and return; `segue serve` carries it out
    #[command(before_help = "\
  segue submit workflow.yaml -i topic=tea
  segue submit support_triage --idempotency-key order-17
  segue runs watch @last                               follow it, from any process")]
    Submit(SubmitArgs),
    /// Carry out what is submitted, until told to leave; answer HTTP about it
    #[command(before_help = "\
  segue serve
  segue serve --listen 127.0.0.1:0 --json              a free port, told on stdout
  segue serve --drain 60                               on SIGTERM: a minute for what runs
  segue serve --rehearse                               every model is the built-in one")]
    Serve(ServeArgs),
    /// Take over runs whose process died or left, and see them to their end
    #[command(before_help = "\
  segue resume --all
  segue resume @last
  segue resume 0199a3f2                  the unique beginning of a run's id")]
    Resume(ResumeArgs),
    /// Rehearse a workflow while its engine and workers are killed; say whether the promises hold
    #[command(before_help = "\
  segue chaos workflow.yaml                       a round for each moment of its run, at most 100
  segue chaos workflow.yaml --kills 20 --json     for CI: exit code 0 only if every promise holds
  segue chaos workflow.yaml -i topic=tea --answer 'paid={\"amount\": 20}'")]
    Chaos(ChaosArgs),
    /// List, show, follow, cancel, repeat and delete runs
    #[command(
        subcommand,
        before_help = "\
  segue runs list
  segue runs show @last
  segue runs watch @last                 follow a run, from any process
  segue runs cancel 0199a3f2             from any process, too"
    )]
    Runs(RunsCommand),
    /// List and show what waits for somebody
    #[command(
        subcommand,
        before_help = "\
  segue approvals list
  segue approvals show @last"
    )]
    Approvals(ApprovalsCommand),
    /// Say yes to what waits; of a failure that waits for a decision: try again
    #[command(before_help = "\
  segue approve @last                                  if only one task waits
  segue approve 0199a3f2 sign --form amount=20 --comment 'fine with me'")]
    Approve(AnswerArgs),
    /// Say no to what waits; of a failure that waits for a decision: let it fail
    #[command(before_help = "\
  segue reject @last --comment 'too expensive'
  segue reject 0199a3f2 sign --by ann")]
    Reject(AnswerArgs),
    /// Send an event to a run that waits for it, or an answer to one of its tasks
    #[command(before_help = "\
  segue signal @last paid --data '{\"amount\": 20}'
  segue signal 0199a3f2 publish --data '{\"decision\": \"continue\", \"output\": null}'")]
    Signal(SignalArgs),
    /// Deploy workflows; list, show and compare what is deployed
    #[command(
        subcommand,
        before_help = "\
  segue workflows deploy triage.yaml
  segue workflows list
  segue run support_triage"
    )]
    Workflows(WorkflowsCommand),
    /// Look after the store: what it holds, and what may go
    #[command(
        subcommand,
        before_help = "\
  segue store status
  segue store gc --older-than 30d --dry-run"
    )]
    Store(StoreCommand),
    /// Draw a workflow, or a run with the states of its tasks
    #[command(before_help = "\
  segue graph workflow.yaml
  segue graph @last                      a run, with states
  segue graph workflow.yaml --format mermaid > flow.mmd")]
    Graph(GraphArgs),
    /// Print a JSON Schema: of the workflow document, the events or the configuration
    #[command(before_help = "\
  segue schema > workflow.schema.json    for the editor: completion and checks while writing
  segue schema events")]
    Schema(SchemaArgs),
    /// Show the settings in force
    #[command(
        subcommand,
        before_help = "\
  segue config show
  segue config show --origin             and where each value comes from"
    )]
    Config(ConfigCommand),
    /// Check whether this machine can run workflows; say what to do where it cannot
    #[command(before_help = "\
  segue doctor
  segue doctor --json")]
    Doctor(DoctorArgs),
    /// Print the completion script of a shell
    #[command(before_help = "\
  segue completions bash > ~/.local/share/bash-completion/completions/segue
  segue completions zsh  > ~/.zfunc/_segue
  segue completions fish > ~/.config/fish/completions/segue.fish")]
    Completions(CompletionsArgs),
}

/// `segue config …`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every setting with its value
    #[command(before_help = "\
  segue config show --origin
  segue config show --json")]
    Show(ConfigShowArgs),
}

/// `segue config show`
#[derive(Debug, Args)]
pub(crate) struct ConfigShowArgs {
    /// Say where each value comes from
    #[arg(long)]
    pub(crate) origin: bool,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue doctor`
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue completions`
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

impl Top {
    /// Does the command print JSON for programs? Then an error is JSON too.
    pub(crate) fn wants_json(&self) -> bool {
        match self {
            Self::Run(args) => args.json,
            Self::Submit(args) => args.json,
            Self::Serve(args) => args.json,
            Self::Chaos(args) => args.json,
            Self::Explain(args) => args.json,
            Self::Approvals(command) => command.wants_json(),
            Self::Approve(args) | Self::Reject(args) => args.then.json,
            Self::Signal(args) => args.then.json,
            Self::Workflows(command) => command.wants_json(),
            Self::Store(command) => command.wants_json(),
            Self::Graph(args) => args.format == GraphFormat::Json,
            Self::Resume(args) => args.json,
            Self::Runs(command) => command.wants_json(),
            Self::Validate(args) => args.format != ReportFormat::Human,
            Self::Config(ConfigCommand::Show(args)) => args.json,
            Self::Doctor(args) => args.json,
            Self::Init(_) | Self::Schema(_) | Self::Completions(_) => false,
        }
    }
}

/// The whole command as clap knows it, with the help of every subcommand in the house's order.
pub(crate) fn command() -> Command {
    with_house_help(Cli::command())
}

/// Reads the process's arguments. Ends the process, as clap does, for help, version and usage errors (code 2).
pub(crate) fn parse() -> Cli {
    let matches = command().get_matches();
    Cli::from_arg_matches(&matches).unwrap_or_else(|error| error.exit())
}

/// Help starts with what it is for and with examples; the details come after.
fn with_house_help(command: Command) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    let command = names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_house_help));
    let heading = STYLES.get_header();
    // Clap takes the indentation of the first line away.
    command.help_template(format!(
        "{{about-with-newline}}\n{heading}Examples:{heading:#}\n  {{before-help}}{{usage-heading}} {{usage}}\n\n{{all-args}}{{after-help}}"
    ))
}

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default())
    .placeholder(AnsiColor::Cyan.on_default());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_help_starts_with_examples() {
        fn check(command: &Command) {
            assert!(command.get_before_help().is_some(), "`{}` has no examples", command.get_name());
            command.get_subcommands().for_each(check);
        }
        check(&command());
    }
}
