//! Configuration: every option is a flag and an environment variable, every secret can come from a
//! file, and everything is read before anything binds.
//!
//! [`args`] declares the options (and with them `--help`); [`read`] parses them into [`settings`],
//! whose types leave no invalid combination, and collects every problem on the way instead of
//! stopping at the first.

pub mod args;
mod engine;
mod mails;
mod parse;
mod process;
mod read;
mod relay_login;
mod relays;
mod relays_file;
pub mod settings;
mod sign_in;
mod traces;
mod worker;
mod workos;

use std::fmt;

pub use mails::{SampleSettings, read_sample, read_templates};
pub use read::{Inspection, read_ingress, read_operator, read_reconcile, read_serve, read_worker};

/// Everything that is wrong with a configuration. Names variables and rules, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problems(Vec<(&'static str, String)>);

impl Problems {
    /// What is wrong with some of the variables, a line each.
    pub fn of(&self, variables: &[&str]) -> Vec<String> {
        let concerns = |(variable, _): &&(&'static str, String)| variables.contains(variable);
        self.0.iter().filter(concerns).map(|(variable, why)| format!("{variable} {why}")).collect()
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the configuration is invalid:")?;
        for (variable, why) in &self.0 {
            writeln!(f, "  {variable} {why}")?;
        }
        write!(
            f,
            "run `authpost init` to be asked for what is needed, or `authpost <command> --help` \
             for a list of all options"
        )
    }
}

impl std::error::Error for Problems {}

#[cfg(test)]
mod tests;
