//! `authpost completions`, `authpost man`: what a package installs beside the binary.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use super::{Cli, failed};

#[derive(Debug, Args)]
pub(super) struct CompletionsArgs {
    /// The shell to complete commands and options in
    shell: Shell,
}

#[derive(Debug, Args)]
pub(super) struct ManArgs {
    /// Write the pages of all commands into this directory, and create it if it is missing, instead
    /// of one page to standard output
    #[arg(value_name = "DIRECTORY")]
    folder: Option<PathBuf>,
}

/// Prints the completion script of one shell.
pub(super) fn completions(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    generate(args.shell, &mut Cli::command(), "authpost", &mut script);
    // A closed pipe is no error.
    io::stdout().write_all(&script).unwrap_or_default();
    ExitCode::SUCCESS
}

/// Prints the page of `authpost`, or writes the pages of all commands.
pub(super) fn man(args: &ManArgs) -> ExitCode {
    let written = match &args.folder {
        Some(folder) => write_pages(folder),
        None => print_page(),
    };
    written.map_or_else(|error| failed(&error), |()| ExitCode::SUCCESS)
}

fn print_page() -> anyhow::Result<()> {
    let mut page = Vec::new();
    Man::new(Cli::command()).render(&mut page)?;
    io::stdout().write_all(&page).unwrap_or_default();
    Ok(())
}

fn write_pages(folder: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .with_context(|| format!("cannot write pages to {}", folder.display()))
}
