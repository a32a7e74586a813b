//! Questions at a terminal, and what their answers change.

use std::path::Path;

use dialoguer::{Confirm, Input, Password, Select};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::{
    draft::Draft,
    topic::{Topic, shown, webhook_url},
};

/// Asks about a topic. An empty answer keeps what is there.
pub(super) fn ask(topic: Topic, draft: &mut Draft, data_dir: &Path) -> dialoguer::Result<()> {
    match topic {
        Topic::Relay => {
            ask_url(draft, "SMTP_URL", "Relay, such as smtps://user@relay.example.com:465")
        }
        Topic::Sender => {
            ask_text(draft, "MAIL_FROM", "Sender of the mails, such as Example <login@example.com>")
        }
        Topic::ApiKey => ask_secret(draft, "WORKOS_API_KEY", "WorkOS API key (sk_…)"),
        Topic::PublicAddress => {
            let prompt = "Public address of the webhook, such as https://api.example.com";
            ask_text(draft, "AUTHPOST_WEBHOOK_URL", prompt)?;
            if let Some(url) = draft.get("AUTHPOST_WEBHOOK_URL") {
                let url = webhook_url(url.expose_secret());
                draft.set("AUTHPOST_WEBHOOK_URL", SecretString::from(url));
            }
            Ok(())
        }
        Topic::WebhookSecret => {
            let prompt = "Secret of the webhook's endpoint in the WorkOS dashboard";
            ask_secret(draft, "WORKOS_WEBHOOK_SECRET", prompt)
        }
        Topic::Engine => ask_engine(draft, data_dir),
    }
}

/// Asks a question that is answered yes or no.
pub(super) fn confirm(question: &str, otherwise: bool) -> dialoguer::Result<bool> {
    Confirm::new().with_prompt(question).default(otherwise).interact()
}

fn ask_text(draft: &mut Draft, variable: &str, prompt: &str) -> dialoguer::Result<()> {
    let mut input = Input::<String>::new().with_prompt(prompt);
    if let Some(present) = shown(draft, variable) {
        input = input.default(present.clone());
        let text = input.interact_text()?;
        if text != present {
            draft.set(variable, SecretString::from(text.trim()));
        }
        return Ok(());
    }
    draft.set(variable, SecretString::from(input.interact_text()?.trim()));
    Ok(())
}

fn ask_secret(draft: &mut Draft, variable: &str, prompt: &str) -> dialoguer::Result<()> {
    let is_there = draft.knows(variable);
    let keep = if is_there { " (empty: keep the present one)" } else { "" };
    let prompt = format!("{prompt}{keep}, not shown");
    let text = Password::new().with_prompt(prompt).allow_empty_password(is_there).interact()?;
    if !text.trim().is_empty() {
        draft.set(variable, SecretString::from(text.trim()));
    }
    Ok(())
}

/// Asks for a URL, and apart from it for the password that it needs, which is not shown.
fn ask_url(draft: &mut Draft, variable: &str, prompt: &str) -> dialoguer::Result<()> {
    let present = draft.get(variable).map(|url| url.expose_secret().to_owned());
    ask_text(draft, variable, prompt)?;
    let answer = draft.get(variable).map(|url| url.expose_secret().to_owned());
    let Some(answer) = answer.filter(|answer| present.as_ref() != Some(answer)) else {
        return Ok(());
    };
    let Ok(mut url) = Url::parse(&answer) else { return Ok(()) };
    if url.username().is_empty() || url.password().is_some() {
        return Ok(());
    }
    let prompt = format!("Password of {} (empty: none), not shown", url.username());
    let password = Password::new().with_prompt(prompt).allow_empty_password(true).interact()?;
    if !password.is_empty() && url.set_password(Some(&password)).is_ok() {
        draft.set(variable, SecretString::from(String::from(url)));
    }
    Ok(())
}

fn ask_engine(draft: &mut Draft, data_dir: &Path) -> dialoguer::Result<()> {
    let is_distributed = draft.knows("AMQP_URL") || draft.knows("REDIS_URL");
    let engines = [
        "embedded: one SQLite file, one machine, no other service",
        "distributed: RabbitMQ and Redis, for several machines",
    ];
    let chosen = Select::new()
        .with_prompt("Engine")
        .items(engines)
        .default(usize::from(is_distributed))
        .interact()?;
    if chosen == 1 {
        draft.remove("AUTHPOST_DATA_DIR");
        ask_url(
            draft,
            "AMQP_URL",
            "RabbitMQ, such as amqps://user@rabbitmq.example.com:5671/vhost",
        )?;
        return ask_url(
            draft,
            "REDIS_URL",
            "Redis, such as rediss://user@redis.example.com:6379/0",
        );
    }
    draft.remove("AMQP_URL");
    draft.remove("REDIS_URL");
    if !draft.knows("AUTHPOST_DATA_DIR") {
        let usual = data_dir.display().to_string();
        draft.set("AUTHPOST_DATA_DIR", SecretString::from(usual));
    }
    ask_text(draft, "AUTHPOST_DATA_DIR", "Directory of the database")
}
