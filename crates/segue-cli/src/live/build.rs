//! How far the making of a Python environment is: a line that is redrawn, or a few lines where there is no terminal.

use std::sync::atomic::{AtomicUsize, Ordering};

use segue_worker::environment::BuildProgress;

use crate::terminal;

/// Without a terminal every so many packages are worth a line.
const PACKAGES_A_LINE: usize = 25;

/// Shows one environment in the making.
#[derive(Debug, Default)]
pub(crate) struct BuildProgressLine {
    packages_told: AtomicUsize,
}

impl BuildProgressLine {
    /// Shows a step.
    pub(crate) fn show(&self, step: &BuildProgress) {
        match step {
            BuildProgress::Fetched { .. } | BuildProgress::Installing { .. } if terminal::is_live() => {
                terminal::draw(vec![step.to_string()]);
            }
            BuildProgress::Fetched { packages, .. } => {
                if *packages >= self.packages_told.load(Ordering::Relaxed) + PACKAGES_A_LINE {
                    self.packages_told.store(*packages, Ordering::Relaxed);
                    terminal::say(step.to_string());
                }
            }
            _ => {
                terminal::draw(Vec::new());
                terminal::say(step.to_string());
            }
        }
    }
}
