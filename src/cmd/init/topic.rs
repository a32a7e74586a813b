//! What a configuration needs to know: six topics, in the order in which they are asked.

use std::path::PathBuf;

use clap::Args;
use runtime::terminal::escape;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use super::draft::{Draft, in_file};

/// Where the webhook is below its public address.
const WEBHOOK_PATH: &str = "/v1/workos_webhook/";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Topic {
    Relay,
    Sender,
    ApiKey,
    WebhookSecret,
    Engine,
    PublicAddress,
}

pub(super) const TOPICS: [Topic; 6] = [
    Topic::Relay,
    Topic::Sender,
    Topic::ApiKey,
    Topic::PublicAddress,
    Topic::WebhookSecret,
    Topic::Engine,
];

impl Topic {
    /// The variables that hold the answer.
    pub(super) fn variables(self) -> &'static [&'static str] {
        match self {
            Self::Relay => &["SMTP_URL"],
            Self::Sender => &["MAIL_FROM"],
            Self::ApiKey => &["WORKOS_API_KEY"],
            Self::WebhookSecret => &["WORKOS_WEBHOOK_SECRET"],
            Self::Engine => &["AMQP_URL", "REDIS_URL", "AUTHPOST_DATA_DIR"],
            Self::PublicAddress => &["AUTHPOST_WEBHOOK_URL"],
        }
    }

    /// The option that answers it on the command line.
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Relay => "--smtp-url or --smtp-url-file",
            Self::Sender => "--mail-from",
            Self::ApiKey => "--workos-api-key-file",
            Self::WebhookSecret => "--workos-webhook-secret-file",
            Self::Engine => "--data-dir, or --amqp-url-file and --redis-url-file",
            Self::PublicAddress => "--webhook-url",
        }
    }

    pub(super) fn is_known(self, draft: &Draft) -> bool {
        self.variables().iter().any(|variable| draft.knows(variable))
    }
}

/// Variables whose values are kept in files of their own, and the names of these.
pub(super) const SECRETS: [(&str, &str); 5] = [
    ("SMTP_URL", "smtp_url"),
    ("WORKOS_API_KEY", "workos_api_key"),
    ("WORKOS_WEBHOOK_SECRET", "webhook_secret"),
    ("AMQP_URL", "amqp_url"),
    ("REDIS_URL", "redis_url"),
];

/// The answers on the command line.
#[derive(Debug, Args)]
#[command(next_help_heading = "Answers")]
pub(super) struct Answers {
    /// URL of the relay; as a flag, visible to other users of this machine
    #[arg(long, env = "SMTP_URL", hide_env_values = true, value_name = "URL")]
    smtp_url: Option<SecretString>,
    /// File with the value of SMTP_URL, which stays where it is
    #[arg(long, env = "SMTP_URL_FILE", value_name = "FILE", conflicts_with = "smtp_url")]
    smtp_url_file: Option<PathBuf>,
    /// Sender of the mails: login@example.com or Example <login@example.com>
    #[arg(long, env = "MAIL_FROM", value_name = "ADDRESS")]
    mail_from: Option<String>,
    /// WorkOS API key (sk_…); as a flag, visible to other users of this machine
    #[arg(long, env = "WORKOS_API_KEY", hide_env_values = true, value_name = "KEY")]
    workos_api_key: Option<SecretString>,
    /// File with the value of WORKOS_API_KEY, which stays where it is
    #[arg(
        long,
        env = "WORKOS_API_KEY_FILE",
        value_name = "FILE",
        conflicts_with = "workos_api_key"
    )]
    workos_api_key_file: Option<PathBuf>,
    /// Public address of the webhook: that of the host, or the whole URL
    #[arg(long, env = "AUTHPOST_WEBHOOK_URL", value_name = "URL")]
    webhook_url: Option<String>,
    /// Secret of the WorkOS webhook endpoint; as a flag, visible to other users of this machine
    #[arg(long, env = "WORKOS_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    workos_webhook_secret: Option<SecretString>,
    /// File with the value of WORKOS_WEBHOOK_SECRET, which stays where it is
    #[arg(
        long,
        env = "WORKOS_WEBHOOK_SECRET_FILE",
        value_name = "FILE",
        conflicts_with = "workos_webhook_secret"
    )]
    workos_webhook_secret_file: Option<PathBuf>,
    /// Directory of the embedded engine's database
    #[arg(
        long,
        env = "AUTHPOST_DATA_DIR",
        value_name = "DIRECTORY",
        conflicts_with_all = ["amqp_url", "amqp_url_file", "redis_url", "redis_url_file"]
    )]
    data_dir: Option<PathBuf>,
    /// URL of RabbitMQ; as a flag, visible to other users of this machine
    #[arg(long, env = "AMQP_URL", hide_env_values = true, value_name = "URL")]
    amqp_url: Option<SecretString>,
    /// File with the value of AMQP_URL, which stays where it is
    #[arg(long, env = "AMQP_URL_FILE", value_name = "FILE", conflicts_with = "amqp_url")]
    amqp_url_file: Option<PathBuf>,
    /// URL of Redis; as a flag, visible to other users of this machine
    #[arg(long, env = "REDIS_URL", hide_env_values = true, value_name = "URL")]
    redis_url: Option<SecretString>,
    /// File with the value of REDIS_URL, which stays where it is
    #[arg(long, env = "REDIS_URL_FILE", value_name = "FILE", conflicts_with = "redis_url")]
    redis_url_file: Option<PathBuf>,
}

impl Answers {
    /// Puts the answers into the draft, and returns the topics that they answer.
    pub(super) fn fill(self, draft: &mut Draft) -> std::io::Result<Vec<Topic>> {
        let text = |text: Option<String>| text.map(SecretString::from);
        let path = |path: Option<PathBuf>| path.map(absolute).transpose();
        let data_dir = path(self.data_dir)?.map(SecretString::from);
        let webhook = self.webhook_url.map(|url| webhook_url(&url));
        let all = [
            ("SMTP_URL", self.smtp_url, path(self.smtp_url_file)?),
            ("MAIL_FROM", text(self.mail_from), None),
            ("WORKOS_API_KEY", self.workos_api_key, path(self.workos_api_key_file)?),
            (
                "WORKOS_WEBHOOK_SECRET",
                self.workos_webhook_secret,
                path(self.workos_webhook_secret_file)?,
            ),
            ("AMQP_URL", self.amqp_url, path(self.amqp_url_file)?),
            ("REDIS_URL", self.redis_url, path(self.redis_url_file)?),
            ("AUTHPOST_DATA_DIR", data_dir, None),
            ("AUTHPOST_WEBHOOK_URL", text(webhook), None),
        ];
        let mut answered = Vec::new();
        for (variable, value, file) in all {
            match (value, file) {
                (Some(value), _) => draft.set(variable, value),
                (None, Some(file)) => draft.set_file(variable, &file),
                (None, None) => continue,
            }
            answered.push(variable);
        }
        choose_engine(draft, &answered);
        let is_answered =
            |topic: &Topic| topic.variables().iter().any(|variable| answered.contains(variable));
        Ok(TOPICS.into_iter().filter(is_answered).collect())
    }
}

/// Forgets the engine that was there before another was chosen.
fn choose_engine(draft: &mut Draft, answered: &[&str]) {
    if answered.contains(&"AUTHPOST_DATA_DIR") {
        draft.remove("AMQP_URL");
        draft.remove("REDIS_URL");
    } else if answered.contains(&"AMQP_URL") || answered.contains(&"REDIS_URL") {
        draft.remove("AUTHPOST_DATA_DIR");
    }
}

/// The file by a name that means the same in another directory.
fn absolute(path: PathBuf) -> std::io::Result<String> {
    Ok(std::path::absolute(path)?.display().to_string())
}

/// The URL of the webhook, where only a public address was given.
pub(super) fn webhook_url(address: &str) -> String {
    match Url::parse(address.trim()) {
        Ok(mut url) if url.path() == "/" && url.has_host() => {
            url.set_path(WEBHOOK_PATH);
            url.to_string()
        }
        _ => address.trim().to_owned(),
    }
}

/// What may be shown of a variable's value: of a URL all but its password, of other secrets that
/// there is one.
pub(super) fn shown(draft: &Draft, variable: &str) -> Option<String> {
    if !draft.knows(variable) {
        return None;
    }
    let Some(value) = draft.value(variable) else {
        let file = draft.get(&in_file(variable)).map_or("", |file| file.expose_secret());
        return Some(format!("in {}, which cannot be read", escape(file)));
    };
    let value = value.expose_secret();
    Some(match variable {
        "WORKOS_API_KEY" | "WORKOS_WEBHOOK_SECRET" => "set".to_owned(),
        "SMTP_URL" | "AMQP_URL" | "REDIS_URL" => {
            value.split_whitespace().map(without_password).collect::<Vec<_>>().join(" ")
        }
        _ => escape(value).into_owned(),
    })
}

fn without_password(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut url) if url.password().is_some() => match url.set_password(Some("***")) {
            Ok(()) => url.to_string(),
            Err(()) => "set".to_owned(),
        },
        Ok(url) => url.to_string(),
        Err(_) => "set".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_address_becomes_the_url_of_the_webhook() {
        for (given, url) in [
            ("https://api.example.com", "https://api.example.com/v1/workos_webhook/"),
            (" https://api.example.com/ ", "https://api.example.com/v1/workos_webhook/"),
            ("https://example.com/auth/hook", "https://example.com/auth/hook"),
            ("api.example.com", "api.example.com"),
        ] {
            assert_eq!(webhook_url(given), url);
        }
    }

    #[test]
    fn no_password_is_shown() {
        let mut draft = Draft::default();
        draft.set(
            "SMTP_URL",
            SecretString::from("smtps://u:hush@a.example smtp://v:hush@b.example"),
        );
        draft.set("WORKOS_API_KEY", SecretString::from("sk_hush"));
        draft.set("REDIS_URL", SecretString::from("redis://:hush"));
        for variable in ["SMTP_URL", "WORKOS_API_KEY", "REDIS_URL"] {
            assert!(!shown(&draft, variable).expect("known").contains("hush"), "{variable}");
        }
        assert_eq!(
            shown(&draft, "SMTP_URL").expect("known"),
            "smtps://u:***@a.example smtp://v:***@b.example"
        );
    }
}
