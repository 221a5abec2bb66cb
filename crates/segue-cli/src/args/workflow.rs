//! Arguments of the commands about documents: `init`, `validate`, `graph`, `schema`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// `segue init`
#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The folder; made if it does not exist
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// What to start from
    #[arg(long, value_enum, default_value_t = Template::Linear)]
    pub(crate) template: Template,
}

/// What `init` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Template {
    /// Two agents, one after the other, declared in YAML alone
    Linear,
    /// A CrewAI project (crew.py, agents.yaml, tasks.yaml) as one task of a workflow
    Crewai,
    /// A LangGraph project (agent.py, langgraph.json) as one task of a workflow
    Langgraph,
}

/// `segue validate`
#[derive(Debug, Args)]
pub(crate) struct ValidateArgs {
    /// Workflow documents (.yaml, .yml, .json); `-` is stdin
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// How problems are reported on stdout
    #[arg(long, value_enum, default_value_t = ReportFormat::Human)]
    pub(crate) format: ReportFormat,
    /// Warnings count as errors
    #[arg(long)]
    pub(crate) strict: bool,
}

/// How problems of documents are reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportFormat {
    /// The source line, what is wrong, and the cure
    Human,
    /// One document: {valid, files: [{file, valid, diagnostics}]}
    Json,
    /// SARIF 2.1.0, for code review tools
    Sarif,
}

/// `segue explain`
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The rule, as `validate` names it in brackets; without it all rules are listed
    #[arg(value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

/// `segue graph`
#[derive(Debug, Args)]
pub(crate) struct GraphArgs {
    /// A workflow document, `-` for stdin; a run (id, unique beginning of an id, `@last`); or a deployed workflow
    #[arg(value_name = "FILE|RUN|WORKFLOW")]
    pub(crate) subject: String,
    /// What to print
    #[arg(long, value_enum, default_value_t = GraphFormat::Ascii)]
    pub(crate) format: GraphFormat,
}

/// What `graph` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A tree of plain text
    Ascii,
    /// A Mermaid flowchart
    Mermaid,
    /// For Graphviz
    Dot,
    /// {workflow_id, nodes, edges}
    Json,
}

/// `segue schema`
#[derive(Debug, Args)]
pub(crate) struct SchemaArgs {
    /// Of what
    #[arg(value_enum, default_value_t = SchemaSubject::Workflow)]
    pub(crate) subject: SchemaSubject,
}

/// What has a JSON Schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum SchemaSubject {
    /// The workflow document
    Workflow,
    /// The event envelope of `runs events --json`
    Events,
    /// segue.toml
    Config,
    /// The script of a rehearsal
    Script,
}
