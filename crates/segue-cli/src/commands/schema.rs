//! `segue schema [workflow|events|config|script]`

use segue_core::{event, spec};

use crate::{
    args::{SchemaArgs, SchemaSubject},
    config,
    exit::Exit,
    failure::Outcome,
    render::text::value,
    terminal,
};

pub(super) fn schema(args: &SchemaArgs) -> Outcome {
    terminal::print(value(&match args.subject {
        SchemaSubject::Workflow => spec::workflow_schema(),
        SchemaSubject::Events => event::schema(),
        SchemaSubject::Config => config::schema(),
        SchemaSubject::Script => segue_gateway::script_schema(),
    }));
    Ok(Exit::Ok)
}
