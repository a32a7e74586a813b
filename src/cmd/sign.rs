//! `authpost sign`: the header WorkOS would send, to try an endpoint by hand.

use std::{io::Read as _, path::PathBuf, process::ExitCode};

use clap::Args;
use secrecy::SecretString;
use shared::{
    clock::{Clock as _, SystemClock},
    webhook::sign as signature,
};

use super::{print, wrong_use};

/// Largest body read.
const MAX_BODY: u64 = 1024 * 1024;

/// `authpost sign`
#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// Secret of the webhook endpoint; the first of several
    #[arg(long, env = "WORKOS_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    workos_webhook_secret: Option<String>,
    /// File that holds WORKOS_WEBHOOK_SECRET
    #[arg(long, env = "WORKOS_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    workos_webhook_secret_file: Option<PathBuf>,
    /// File with the body, "-" for standard input; without it, a sample magic_auth.created event is made
    #[arg(value_name = "BODY")]
    body: Option<PathBuf>,
    /// Print a curl command that posts the signed body
    #[arg(long)]
    curl: bool,
    /// Where the curl command posts to
    #[arg(long, default_value = "http://127.0.0.1:8080/v1/workos_webhook/", value_name = "URL")]
    url: String,
}

pub(super) fn sign(args: &SignArgs) -> ExitCode {
    let secret = match secret(args) {
        Ok(secret) => secret,
        Err(problem) => return wrong_use(&problem),
    };
    let body = match &args.body {
        None => Ok(sample()),
        Some(path) => read(path),
    };
    let body = match body {
        Ok(body) => body,
        Err(problem) => return wrong_use(&problem),
    };
    let Some(header) = signature(&secret, SystemClock.now(), body.as_bytes()) else {
        return wrong_use(&"WORKOS_WEBHOOK_SECRET is empty");
    };
    if args.curl {
        print(&format!(
            "curl -i -X POST {} \\\n  -H 'Content-Type: application/json' \\\n  -H 'WorkOS-Signature: {header}' \\\n  --data-binary {}",
            quoted(&args.url),
            quoted(&body)
        ));
    } else {
        print(&format!("WorkOS-Signature: {header}"));
        if args.body.is_none() {
            print(&body);
        }
    }
    ExitCode::SUCCESS
}

fn secret(args: &SignArgs) -> Result<SecretString, &'static str> {
    let text = match (&args.workos_webhook_secret, &args.workos_webhook_secret_file) {
        (Some(text), None) => text.clone(),
        (None, Some(file)) => std::fs::read_to_string(file).map_err(|_| "WORKOS_WEBHOOK_SECRET_FILE cannot be read")?,
        (None, None) => return Err("WORKOS_WEBHOOK_SECRET is not set"),
        (Some(_), Some(_)) => return Err("WORKOS_WEBHOOK_SECRET is given both itself and as a file: give one of them"),
    };
    let first = text.split(',').next().unwrap_or_default().trim();
    if first.is_empty() { Err("WORKOS_WEBHOOK_SECRET is empty") } else { Ok(SecretString::from(first.to_owned())) }
}

fn read(path: &PathBuf) -> Result<String, String> {
    let mut body = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(MAX_BODY).read_to_string(&mut body)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BODY).read_to_string(&mut body))
    };
    read.map(|_| body).map_err(|error| format!("{} cannot be read: {}", path.display(), error.kind()))
}

/// An event with fresh ids. WorkOS will know no such code, so a real worker ends it as a dead letter, `not_found`.
fn sample() -> String {
    let now = SystemClock.now();
    let made = sandbox::workos::MagicAuth {
        id: format!("magic_auth_{}", ulid::Ulid::generate()),
        event_id: format!("event_{}", ulid::Ulid::generate()),
        user_id: format!("user_{}", ulid::Ulid::generate()),
        email: "alice@example.com".to_owned(),
        code: String::new(),
        created_at: now,
        expires_at: now.saturating_add(sandbox::workos::LIFE).unwrap_or(now),
    };
    made.event()
}

/// For a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_the_body_does_not_end_it() {
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
