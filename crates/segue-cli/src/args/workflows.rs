//! Arguments of `segue workflows …`.

use clap::{Args, Subcommand};

/// `segue workflows …`
#[derive(Debug, Subcommand)]
pub(crate) enum WorkflowsCommand {
    /// List the deployed workflows with their current versions
    #[command(before_help = "\
  segue workflows list
  segue workflows list --json | jq -r '.items[].workflow_id'")]
    List(WorkflowsListArgs),
    /// Show a deployed workflow: what it takes and what it does
    #[command(before_help = "\
  segue workflows show support_triage
  segue workflows show support_triage@3f2a41c0       an older version
  segue workflows show support_triage --json         with the whole document")]
    Show(WorkflowsShowArgs),
    /// Put documents into service: what `segue run WORKFLOW` starts from now on
    #[command(before_help = "\
  segue workflows deploy triage.yaml
  segue workflows deploy flows/*.yaml
  segue run support_triage                           from anywhere, without the file")]
    Deploy(WorkflowsDeployArgs),
    /// List the deployments of a workflow, the newest first
    #[command(before_help = "\
  segue workflows history support_triage
  segue run support_triage@3f2a41c0                  a run of an older version")]
    History(WorkflowsHistoryArgs),
}

impl WorkflowsCommand {
    pub(super) const fn wants_json(&self) -> bool {
        match self {
            Self::List(args) => args.json,
            Self::Show(args) => args.json,
            Self::Deploy(args) => args.json,
            Self::History(args) => args.json,
        }
    }
}

/// `segue workflows list`
#[derive(Debug, Args)]
pub(crate) struct WorkflowsListArgs {
    /// At most this many; 0: all
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) limit: usize,
    /// One JSON document {items} on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue workflows show`
#[derive(Debug, Args)]
pub(crate) struct WorkflowsShowArgs {
    /// The workflow's id; with `@` and the first digits of a version for an older one
    #[arg(value_name = "WORKFLOW")]
    pub(crate) workflow: String,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue workflows deploy`
#[derive(Debug, Args)]
pub(crate) struct WorkflowsDeployArgs {
    /// Workflow documents; child workflows in files beside them are deployed with them
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// One JSON document {items} on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue workflows history`
#[derive(Debug, Args)]
pub(crate) struct WorkflowsHistoryArgs {
    /// The workflow's id
    #[arg(value_name = "WORKFLOW")]
    pub(crate) workflow: String,
    /// At most this many; 0: all
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) limit: usize,
    /// One JSON document {items} on stdout
    #[arg(long)]
    pub(crate) json: bool,
}
