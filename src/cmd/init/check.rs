//! What a topic's answer is worth: its form, and what `doctor` finds out about it. Writes nothing.

use std::{path::Path, sync::Arc};

use runtime::clock::SystemClock;
use secrecy::ExposeSecret as _;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{draft::Draft, topic::Topic};
use crate::{
    cmd::doctor,
    config::settings::{EngineSettings, Settings},
    deps::Deps,
    engines::{self, Access},
    finding::Finding,
};

/// What became of an answer.
pub(super) enum Verdict {
    /// It has the wrong form, for these reasons: nothing else was checked.
    Invalid(Vec<String>),
    /// It has the right form. These are the facts about it.
    Examined(Vec<Finding>),
}

pub(super) async fn check(topic: Topic, draft: &Draft) -> anyhow::Result<Verdict> {
    let settings = match draft.settings() {
        Ok(settings) => settings,
        Err(problems) => {
            let about = problems.of(topic.variables());
            // Otherwise another topic is at fault, which has said so.
            return Ok(if about.is_empty() {
                Verdict::Examined(Vec::new())
            } else {
                Verdict::Invalid(about)
            });
        }
    };
    examine(topic, draft, &settings).await
}

async fn examine(topic: Topic, draft: &Draft, settings: &Settings) -> anyhow::Result<Verdict> {
    let trust = settings.process.trust.clone();
    let deps = Deps::new(Arc::new(SystemClock), trust, CancellationToken::new())?;
    let worker = settings.roles.worker().ok_or_else(|| anyhow::anyhow!("no worker"))?;
    Ok(Verdict::Examined(match topic {
        Topic::Relay => doctor::relay(worker, &deps).await?,
        Topic::ApiKey => doctor::workos(&worker.api, &deps).await?,
        Topic::Engine => engine(&settings.engine, &deps).await,
        Topic::PublicAddress => return public_address(draft),
        // Only a mail and a delivery could tell more.
        Topic::Sender | Topic::WebhookSecret => Vec::new(),
    }))
}

async fn engine(settings: &EngineSettings, deps: &Deps) -> Vec<Finding> {
    if let EngineSettings::Embedded(embedded) = settings {
        return vec![directory(&embedded.data_dir)];
    }
    match engines::open(settings, Access::Operator, deps) {
        Ok(engine) => engine.examine().await,
        Err(error) => vec![engines::examine_unopened(&error)],
    }
}

/// Whether the directory is there and can be written to, or can be created.
fn directory(wanted: &Path) -> Finding {
    const SUBJECT: &str = "data directory";
    let shown = wanted.display();
    let there = wanted.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("."));
    // Without a name: it is gone when it is closed.
    match tempfile::tempfile_in(there) {
        Ok(_) if there == wanted => Finding::good(SUBJECT, format!("{shown} is writable")),
        Ok(_) => Finding::good(SUBJECT, format!("{shown} can be created")),
        Err(error) => {
            let advice = "name one that the user of the service may write to";
            Finding::wrong(SUBJECT, format!("{}: {error}", there.display()), advice)
        }
    }
}

/// Its form alone: nothing answers there before the service runs.
fn public_address(draft: &Draft) -> anyhow::Result<Verdict> {
    const VARIABLE: &str = "AUTHPOST_WEBHOOK_URL";
    let text = draft.value(VARIABLE).unwrap_or_default();
    let invalid = |why: &str| Ok(Verdict::Invalid(vec![format!("{VARIABLE} {why}")]));
    let Ok(url) = Url::parse(text.expose_secret()) else {
        return invalid("must be a URL such as https://api.example.com");
    };
    match url.scheme() {
        "https" if url.has_host() => Ok(Verdict::Examined(Vec::new())),
        "http" if url.has_host() => Ok(Verdict::Examined(vec![Finding::note(
            "webhook",
            "its URL begins with http://",
            "WorkOS posts to https:// only, except from its emulator",
        )])),
        _ => invalid("must begin with https://"),
    }
}
