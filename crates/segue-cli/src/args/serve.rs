//! Arguments of `segue serve`.

use clap::Args;

use super::span::seconds;

/// `segue serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where to answer HTTP: an address of this machine's own and a port; port 0 takes one that is free [config: listen]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub(crate) listen: Option<String>,
    /// On SIGTERM or Ctrl-C: how long running tasks may go on before they are handed back [config: drain_seconds]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) drain: Option<f64>,
    /// How long this engine's runs stay its own without a sign of life of it [config: lease_seconds]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) lease: Option<f64>,
    /// Carry out every run as a rehearsal: the built-in model answers, whatever the run was submitted with. With a script it
    /// answers what that says
    #[arg(long, value_name = "SCRIPT", num_args = 0..=1)]
    rehearse: Option<Option<String>>,
    /// JSON Lines on stdout: when it is ready, when it begins to leave, when it has left
    #[arg(long)]
    pub(crate) json: bool,
}

impl ServeArgs {
    /// Is every run a rehearsal?
    pub(crate) const fn is_rehearsal(&self) -> bool {
        self.rehearse.is_some()
    }

    /// The rehearsals' script.
    pub(crate) fn script(&self) -> Option<&str> {
        self.rehearse.as_ref().and_then(Option::as_deref)
    }
}
