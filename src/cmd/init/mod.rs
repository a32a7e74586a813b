//! `authpost init`: asks for what a configuration needs, checks each answer at once, and writes the
//! files when everything is known. Run again, it shows what is there and changes what is answered.

mod ask;
mod check;
mod draft;
mod env_file;
mod topic;
mod write;

use std::{
    io::IsTerminal as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use runtime::telemetry::LogFormat;
use secrecy::{ExposeSecret as _, SecretString};

use self::{
    ask::confirm,
    check::Verdict,
    draft::{Draft, is_variable},
    topic::{Answers, TOPICS, Topic, shown},
    write::{Place, Plan},
};
use super::{block_on, print, start_logging, usage_error};
use crate::finding::Finding;

#[derive(Debug, Args)]
pub(super) struct InitArgs {
    /// Directory of the configuration (default: /etc/authpost for root, ./authpost for others)
    #[arg(long, value_name = "DIRECTORY")]
    dir: Option<PathBuf>,
    /// Ask nothing: take what is there, these options, and the embedded engine if none is named
    #[arg(long)]
    yes: bool,
    /// Write the files even if a check fails; with --yes only, at a terminal you are asked
    #[arg(long, requires = "yes")]
    unchecked: bool,
    /// Also write a drop-in for authpost.service, by which systemd hands the secrets to the service
    /// alone
    #[arg(long)]
    systemd: bool,
    /// Directory of systemd's units and their drop-ins
    #[arg(
        long,
        value_name = "DIRECTORY",
        default_value = "/etc/systemd/system",
        requires = "systemd"
    )]
    systemd_dir: PathBuf,
    /// Another variable of `authpost serve` to write; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = variable)]
    set: Vec<(String, String)>,
    #[command(flatten)]
    answers: Answers,
}

fn variable(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    if !is_variable(name) {
        return Err(format!("`authpost serve` has no variable {name}"));
    }
    if value.contains(char::is_control) {
        return Err("the value has a control character".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

pub(super) fn init(args: InitArgs) -> ExitCode {
    if let Err(why) = start_logging(LogFormat::Text, "error") {
        return usage_error(&why);
    }
    block_on(configure(args))
}

async fn configure(args: InitArgs) -> anyhow::Result<ExitCode> {
    let InitArgs { dir, yes, unchecked, systemd, systemd_dir, set, answers } = args;
    let place = Place { folder: folder(dir)?, units: systemd.then_some(systemd_dir) };
    let env = place.read()?;
    let mut draft = Draft::default();
    env.variables().for_each(|(name, value)| draft.put(name, SecretString::from(value)));
    show(&place, &draft);
    set.into_iter().for_each(|(name, value)| draft.put(&name, SecretString::from(value)));
    let answered = answers.fill(&mut draft)?;
    let at_terminal = !yes && std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    let data_dir = usual_data_dir(&place.folder);
    if at_terminal {
        for topic in TOPICS {
            settle(topic, &mut draft, answered.contains(&topic), &data_dir).await?;
        }
    } else {
        if yes && !Topic::Engine.is_known(&draft) {
            draft.set("AUTHPOST_DATA_DIR", SecretString::from(data_dir.display().to_string()));
        }
        if let Some(why) = missing(&draft, yes) {
            return Ok(usage_error(&why));
        }
        if !(are_sound(&draft).await? || unchecked) {
            anyhow::bail!("a check failed, and nothing was written: see above, or use --unchecked");
        }
    }
    draft.settings().map_err(|problems| anyhow::anyhow!("{problems}"))?;
    let plan = Plan::new(&place, env, &draft);
    finish(&plan, &place, &draft, at_terminal)
}

/// The directory by its absolute name: the files in it are named in each other.
fn folder(dir: Option<PathBuf>) -> anyhow::Result<PathBuf> {
    let usual = || if nix::unistd::geteuid().is_root() { "/etc/authpost" } else { "authpost" };
    let dir = dir.unwrap_or_else(|| PathBuf::from(usual()));
    std::path::absolute(&dir).with_context(|| format!("{} is no directory", dir.display()))
}

/// Where the embedded engine keeps its file if nothing else is said.
fn usual_data_dir(folder: &Path) -> PathBuf {
    if folder == Path::new("/etc/authpost") {
        PathBuf::from("/var/lib/authpost")
    } else {
        folder.join("data")
    }
}

/// Shows what is configured already.
fn show(place: &Place, draft: &Draft) {
    let variables = TOPICS.iter().flat_map(|topic| topic.variables());
    let mut lines = variables
        .filter_map(|variable| Some(format!("  {variable}: {}", shown(draft, variable)?)))
        .peekable();
    if lines.peek().is_some() {
        print(&format!("{} has:", place.env_file().display()));
        lines.for_each(|line| print(&line));
    }
}

/// What is not known although nobody can be asked.
fn missing(draft: &Draft, yes: bool) -> Option<String> {
    let unknown: Vec<_> = TOPICS.into_iter().filter(|topic| !topic.is_known(draft)).collect();
    if unknown.is_empty() {
        return None;
    }
    let options: Vec<_> = unknown.iter().map(|topic| format!("  {}", topic.option())).collect();
    let why = if yes { "with --yes nothing is asked" } else { "there is no terminal to ask at" };
    Some(format!("{why}, and these are missing:\n{}", options.join("\n")))
}

/// Checks every topic without asking, and prints what was found.
async fn are_sound(draft: &Draft) -> anyhow::Result<bool> {
    let mut sound = true;
    for topic in TOPICS {
        sound &= match check::check(topic, draft).await? {
            Verdict::Invalid(problems) => anyhow::bail!("{}", problems.join("\n")),
            Verdict::Examined(findings) => report(&findings),
        };
    }
    Ok(sound)
}

/// Asks about a topic until the answer has the right form, and either passes its checks or is kept
/// all the same.
async fn settle(
    topic: Topic,
    draft: &mut Draft,
    mut answered: bool,
    data_dir: &Path,
) -> anyhow::Result<()> {
    loop {
        if !answered {
            ask::ask(topic, draft, data_dir)?;
        }
        answered = false;
        match check::check(topic, draft).await? {
            Verdict::Invalid(problems) => problems.iter().for_each(|problem| print(problem)),
            Verdict::Examined(findings) => {
                if report(&findings) || confirm("Keep this answer all the same?", false)? {
                    return Ok(());
                }
            }
        }
    }
}

/// Prints the findings; whether none is wrong.
fn report(findings: &[Finding]) -> bool {
    findings.iter().for_each(|finding| print(&finding.line()));
    !findings.iter().any(Finding::is_wrong)
}

/// Writes what is planned, and says what comes next.
fn finish(
    plan: &Plan,
    place: &Place,
    draft: &Draft,
    at_terminal: bool,
) -> anyhow::Result<ExitCode> {
    let files: Vec<_> = plan.paths().map(|path| format!("  {}", path.display())).collect();
    if files.is_empty() {
        print("Nothing to change.");
        return Ok(ExitCode::SUCCESS);
    }
    if at_terminal {
        print(&format!("To be written:\n{}", files.join("\n")));
        if !confirm("Write these files?", true)? {
            print("Nothing was written.");
            return Ok(ExitCode::FAILURE);
        }
    }
    plan.write(place)?;
    print(&format!("Written:\n{}", files.join("\n")));
    print(&next(place, draft));
    Ok(ExitCode::SUCCESS)
}

/// What is left to do: three things in the dashboard of WorkOS, and one command.
fn next(place: &Place, draft: &Draft) -> String {
    let url = draft.value("AUTHPOST_WEBHOOK_URL").unwrap_or_default();
    let start = match place.units {
        Some(_) => "systemctl daemon-reload && systemctl enable --now authpost".to_owned(),
        None => format!("set -a; . {}; authpost serve", place.env_file().display()),
    };
    format!(
        "\nIn the WorkOS dashboard:\n\
         \x20 1. Webhooks: add the endpoint {} for magic_auth.created.\n\
         \x20 2. Webhooks: compare its secret; if it is another one, run `authpost init` again.\n\
         \x20 3. Emails > Configuration: switch off the default Magic Auth mail.\n\
         \nThen start it:\n  {start}",
        url.expose_secret()
    )
}
