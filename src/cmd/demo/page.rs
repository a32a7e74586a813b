//! The page of the demo: request a code, or sign in, and watch the mail arrive.

use std::{process::ExitCode, sync::Arc, time::Duration};

use domain::{address::EmailAddress, language::LanguageTag};
use hyper::{Method, StatusCode, header};
use runtime::http::{self, Answer, Bodies, Limits, Received};
use sandbox::readable;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{print, world::Demo};
use crate::cmd::loopback;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The page may run its own script and style, and show a mail in a frame without permissions;
/// nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                      connect-src 'self'; frame-src 'self'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// Serves until Ctrl-C or SIGTERM.
pub(super) async fn serve(demo: &Demo, port: u16) -> anyhow::Result<ExitCode> {
    let listener = loopback(port).await?;
    // Before anybody can know the address.
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    print(&format!(
        "Open http://{} in a browser, request a code, and watch it arrive. Press Ctrl-C to stop.",
        listener.local_addr()?
    ));
    let stop = CancellationToken::new();
    let (asks, mut asked) = tokio::sync::mpsc::channel::<Ask>(16);
    let asks = Arc::new(asks);
    let limits = Limits::new(64, Duration::from_secs(1));
    let serving = http::serve(listener, limits, stop.clone(), Arc::new(|_| {}), move |request| {
        route(Arc::clone(&asks), request)
    });
    let answering = async {
        while let Some(Ask { what, answer }) = asked.recv().await {
            // A browser that hung up needs no answer.
            drop(answer.send(match what {
                What::Code(email, language) => log_in(demo, &email, language.as_ref()).await,
                What::Inbox => inbox(demo),
            }));
        }
    };
    tokio::select! {
        () = serving => {}
        () = answering => {}
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// One request, on its way from a connection to the demo.
struct Ask {
    what: What,
    answer: tokio::sync::oneshot::Sender<Answer>,
}

enum What {
    /// Request a code for this address, whose user reads this language.
    Code(String, Option<LanguageTag>),
    /// List the mails that have arrived.
    Inbox,
}

async fn route(asks: Arc<tokio::sync::mpsc::Sender<Ask>>, request: Received) -> Answer {
    match (request.method(), request.uri().path()) {
        (&Method::GET, "/") => file("text/html; charset=utf-8", PAGE),
        (&Method::GET, "/page.css") => file("text/css; charset=utf-8", STYLE),
        (&Method::GET, "/page.js") => file("text/javascript; charset=utf-8", SCRIPT),
        (&Method::GET, "/inbox") => on_demo(&asks, What::Inbox).await,
        (&Method::POST, "/ask") => ask(&asks, request).await,
        _ => http::problem(StatusCode::NOT_FOUND, "not_found", "There is nothing at this address."),
    }
}

fn file(kind: &'static str, text: &'static str) -> Answer {
    let mut answer = http::answer(StatusCode::OK, kind, text);
    answer
        .headers_mut()
        .insert(header::CONTENT_SECURITY_POLICY, header::HeaderValue::from_static(POLICY));
    answer
}

async fn ask(asks: &tokio::sync::mpsc::Sender<Ask>, request: Received) -> Answer {
    let Ok(body) = Bodies::new(1024, 1).read(request.into_body()).await else {
        return http::problem(
            StatusCode::BAD_REQUEST,
            "unreadable",
            "The request could not be read.",
        );
    };
    let asked: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let email = asked["email"].as_str().map(str::to_owned);
    let language = asked["language"].as_str().and_then(|text| LanguageTag::parse(text).ok());
    let Some(email) = email.filter(|email| EmailAddress::parse(email).is_ok()) else {
        return http::problem(
            StatusCode::BAD_REQUEST,
            "no_address",
            "That is not an address mail can be sent to.",
        );
    };
    on_demo(asks, What::Code(email, language)).await
}

async fn on_demo(asks: &tokio::sync::mpsc::Sender<Ask>, what: What) -> Answer {
    let (answer, answered) = tokio::sync::oneshot::channel();
    let stopped =
        || http::problem(StatusCode::SERVICE_UNAVAILABLE, "stopping", "The demo is stopping.");
    if asks.send(Ask { what, answer }).await.is_err() {
        return stopped();
    }
    answered.await.unwrap_or_else(|_| stopped())
}

fn inbox(demo: &Demo) -> Answer {
    let mails = demo.inbox.mails();
    let shown = mails.iter().filter_map(|mail| {
        readable::read(&mail.raw).map(|readable| json!({ "to": mail.to, "mail": readable }))
    });
    http::json(
        StatusCode::OK,
        &json!({
            "login_url": demo.login_url,
            "languages": demo.languages,
            "mails": shown.collect::<Vec<_>>(),
        }),
    )
}

async fn log_in(demo: &Demo, email: &str, language: Option<&LanguageTag>) -> Answer {
    match demo.log_in(email, language).await {
        Ok(login) => {
            let stages: Vec<_> = login
                .stages()
                .into_iter()
                .map(|(name, ms)| json!({ "name": name, "ms": ms }))
                .collect();
            http::json(StatusCode::OK, &json!({ "stages": stages }))
        }
        Err(error) => http::problem(StatusCode::BAD_GATEWAY, "failed", &error.to_string()),
    }
}
