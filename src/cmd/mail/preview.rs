//! `authpost mail preview`: a page with the mails of every language, which shows changes of the
//! files at once.

use std::{collections::HashMap, path::Path, process::ExitCode, sync::Arc, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::Args;
use domain::{clock::Clock as _, ids::ClientId, login_code::Code};
use hyper::{Method, StatusCode, header};
use parking_lot::Mutex;
use runtime::{
    clock::SystemClock,
    http::{self, Answer, Limits, Received},
};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use worker::mail::{
    languages::{FOLDER, Language},
    lint::{Sample, lint},
    render::Templates,
};

use super::lint::name;
use crate::{
    cmd::{block_on, loopback, print},
    config::{args::MailOptions, read_templates},
};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page may run its own script and style and show mails in frames; nothing else.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
                           connect-src 'self'; frame-src 'self'; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

/// A mail may do what it may do in a mail program.
const MAIL_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'self'";

#[derive(Debug, Args)]
pub(super) struct PreviewArgs {
    /// Port of the page on 127.0.0.1; 0 for any free port
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
    #[command(flatten)]
    mails: MailOptions,
}

pub(super) fn preview(args: PreviewArgs) -> ExitCode {
    block_on(serve(args.port, args.mails))
}

/// What was read of the files, or why it cannot be used.
type Read = Result<Arc<Templates>, String>;

/// The files that make the mails. Read again when one has changed.
struct Files {
    options: MailOptions,
    /// With the stamp of the files that it comes from.
    read: Mutex<Option<(String, Read)>>,
}

impl Files {
    /// The stamp of the files now, and what is in them.
    fn read(&self) -> (String, Read) {
        let stamp = stamp(self.options.template_dir.as_deref());
        let mut read = self.read.lock();
        match &*read {
            Some((of, templates)) if *of == stamp => (stamp, templates.clone()),
            _ => {
                let templates = read_templates(self.options.clone());
                let templates = templates.map(Arc::new).map_err(|problems| problems.to_string());
                *read = Some((stamp.clone(), templates.clone()));
                (stamp, templates)
            }
        }
    }
}

/// Serves until Ctrl-C or SIGTERM.
async fn serve(port: u16, options: MailOptions) -> anyhow::Result<ExitCode> {
    let listener = loopback(port).await?;
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    print(&format!(
        "Open http://{} in a browser. The page follows the files. Press Ctrl-C to stop.",
        listener.local_addr()?
    ));
    let files = Arc::new(Files { options, read: Mutex::default() });
    let limits = Limits::new(64, Duration::from_secs(1));
    let stop = CancellationToken::new();
    let serving = http::serve(listener, limits, stop, Arc::new(|_| {}), move |request| {
        std::future::ready(route(&files, &request))
    });
    tokio::select! {
        () = serving => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

fn route(files: &Files, request: &Received) -> Answer {
    let query = request.uri().query().unwrap_or_default();
    let query: HashMap<String, String> =
        url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => guarded("text/html; charset=utf-8", PAGE, PAGE_POLICY),
        (&Method::GET, "/page.css") => guarded("text/css; charset=utf-8", STYLE, PAGE_POLICY),
        (&Method::GET, "/page.js") => {
            guarded("text/javascript; charset=utf-8", SCRIPT, PAGE_POLICY)
        }
        (&Method::GET, "/mails") => http::json(StatusCode::OK, &mails(files, &query)),
        (&Method::GET, "/mail") => match mail(files, &query) {
            Some(html) => guarded("text/html; charset=utf-8", html, MAIL_POLICY),
            None => http::problem(StatusCode::NOT_FOUND, "not_found", "There is no such mail."),
        },
        _ => http::problem(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address."),
    }
}

fn guarded(kind: &'static str, body: impl Into<bytes::Bytes>, policy: &'static str) -> Answer {
    let mut answer = http::answer(StatusCode::OK, kind, body);
    let policy = header::HeaderValue::from_static(policy);
    answer.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    answer
}

/// What the page shows, or why there is nothing to show. With `since`, the stamp that the page
/// knows, only whether that is still so.
fn mails(files: &Files, query: &HashMap<String, String>) -> Value {
    let (stamp, templates) = files.read();
    if query.get("since") == Some(&stamp) {
        return json!({ "stamp": stamp, "unchanged": true });
    }
    match templates {
        Ok(templates) => {
            let client = client(query);
            let all = templates.languages().all();
            let mails: Vec<Value> = all
                .filter_map(|language| {
                    let sample = sample(&templates, language, client.as_ref())?;
                    Some(describe(language, &sample))
                })
                .collect();
            let clients: Vec<String> = templates.clients().map(ToString::to_string).collect();
            json!({ "stamp": stamp, "clients": clients, "mails": mails })
        }
        Err(problems) => json!({ "stamp": stamp, "error": problems }),
    }
}

fn client(query: &HashMap<String, String>) -> Option<ClientId> {
    query.get("client").and_then(|client| ClientId::parse(client.as_str()).ok())
}

fn sample(templates: &Templates, language: &Language, client: Option<&ClientId>) -> Option<Sample> {
    let code = Code::parse("246813".to_owned()).ok()?;
    templates.sample(language, client, code, SystemClock.now()).ok()
}

fn describe(language: &Language, sample: &Sample) -> Value {
    let message = String::from_utf8_lossy(&sample.message);
    let headers = message.split("\r\n\r\n").next().unwrap_or_default();
    let problems: Vec<Value> = lint(sample)
        .into_iter()
        .map(|problem| json!({ "severity": name(problem.severity), "what": problem.what }))
        .collect();
    json!({
        "language": language.tag(), "direction": language.direction(), "name": language.name(),
        "subject": sample.subject, "text": sample.text, "headers": headers,
        "bytes": sample.message.len(), "problems": problems,
    })
}

/// The HTML of one mail, as a mail program in light or dark mode shows it.
fn mail(files: &Files, query: &HashMap<String, String>) -> Option<String> {
    let (_, templates) = files.read();
    let templates = templates.ok()?;
    let language = templates.languages().get(query.get("language")?)?;
    let sample = sample(&templates, language, client(query).as_ref())?;
    let dark = query.get("mode").is_some_and(|mode| mode == "dark");
    let media = if dark { "all" } else { "not all" };
    let html = sample.html.replace("(prefers-color-scheme: dark)", media);
    // A browser knows nothing of the other parts of a mail.
    let Some(logo) = &sample.logo else { return Some(html) };
    let (before, after) = html.split_once("\"cid:")?;
    let (_, after) = after.split_once('"')?;
    Some(format!("{before}\"data:image/png;base64,{}\"{after}", BASE64_STANDARD.encode(&logo.png)))
}

/// Changes whenever a file of the directory does.
fn stamp(directory: Option<&Path>) -> String {
    let Some(directory) = directory else { return "built in".to_owned() };
    let mut files: Vec<String> = [directory.to_owned(), directory.join(FOLDER)]
        .iter()
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let data = entry.metadata().ok()?;
            let changed = data.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
            let name = entry.file_name();
            Some(format!("{} {} {}", name.display(), data.len(), changed.as_nanos()))
        })
        .collect();
    files.sort();
    files.join("\n")
}
