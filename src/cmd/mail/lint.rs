//! `authpost mail lint`: one line for each problem.

use std::process::ExitCode;

use clap::Args;
use domain::{clock::Clock as _, ids::ClientId, login_code::Code};
use runtime::clock::SystemClock;
use serde_json::{Value, json};
use worker::mail::{
    lint::{self, Severity},
    render::Templates,
};

use crate::{
    cmd::{failed, print, print_json, usage_error},
    config::{args::MailOptions, read_templates},
};

#[derive(Debug, Args)]
pub(super) struct LintArgs {
    /// Print the problems as a JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    mails: MailOptions,
}

/// A problem, and the mail that has it.
struct Line {
    language: String,
    client: Option<String>,
    severity: Severity,
    what: String,
}

pub(super) fn lint(args: LintArgs) -> ExitCode {
    let templates = match read_templates(args.mails) {
        Ok(templates) => templates,
        Err(problems) => return usage_error(&problems),
    };
    match lines(&templates).and_then(|lines| report(&lines, args.json, &templates)) {
        Ok(code) => code,
        Err(error) => failed(&error),
    }
}

fn lines(templates: &Templates) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    let clients = templates.clients().map(Some);
    for client in std::iter::once(None).chain(clients) {
        for language in templates.languages().all() {
            let code = Code::parse("246813".to_owned())?;
            let sample = templates.sample(language, client, code, SystemClock.now())?;
            lines.extend(lint::lint(&sample).into_iter().map(|problem| Line {
                language: language.tag(),
                client: client.map(ClientId::to_string),
                severity: problem.severity,
                what: problem.what,
            }));
        }
    }
    Ok(lines)
}

fn report(lines: &[Line], as_json: bool, templates: &Templates) -> anyhow::Result<ExitCode> {
    let errors = lines.iter().filter(|line| line.severity == Severity::Error).count();
    if as_json {
        print_json(&lines.iter().map(document).collect())?;
    } else {
        for Line { language, client, severity, what } in lines {
            let client = client.as_ref().map(|client| format!(" ({client})")).unwrap_or_default();
            print(&format!("{}  {language}{client}: {what}", name(*severity)));
        }
        let (languages, brands) =
            (templates.languages().all().count(), 1 + templates.clients().count());
        print(&format!(
            "{languages} languages, {brands} brands: {errors} errors, {} warnings",
            lines.len() - errors
        ));
    }
    Ok(if errors == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn document(Line { language, client, severity, what }: &Line) -> Value {
    json!({ "language": language, "client_id": client, "severity": name(*severity), "what": what })
}

pub(super) fn name(severity: Severity) -> &'static str {
    match severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}
