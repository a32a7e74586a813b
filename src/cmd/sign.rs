//! `authpost sign`: prints the header that WorkOS would send, to try an endpoint by hand.

use std::{io::Read as _, path::PathBuf, process::ExitCode};

use clap::Args;
use domain::{clock::Clock as _, webhook::sign as signature};
use runtime::{clock::SystemClock, random::ulid};
use secrecy::{ExposeSecret as _, SecretString};

use super::{print, print_unchanged, usage_error};

/// Largest body read from a file, in bytes.
const MAX_BODY: u64 = 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct SignArgs {
    /// Secret of the webhook endpoint; of several the first; as a flag, visible to other users of
    /// this machine
    #[arg(long, env = "WORKOS_WEBHOOK_SECRET", hide_env_values = true, value_name = "SECRET")]
    workos_webhook_secret: Option<SecretString>,
    /// File with the value of WORKOS_WEBHOOK_SECRET
    #[arg(long, env = "WORKOS_WEBHOOK_SECRET_FILE", value_name = "FILE")]
    workos_webhook_secret_file: Option<PathBuf>,
    /// File with the body, or "-" for standard input (default: a new sample magic_auth.created
    /// event)
    #[arg(value_name = "BODY")]
    body: Option<PathBuf>,
    /// Print a curl command that posts the signed body
    #[arg(long)]
    curl: bool,
    /// URL for the curl command
    #[arg(long, default_value = "http://127.0.0.1:8080/v1/workos_webhook/", value_name = "URL")]
    url: String,
}

pub(super) fn sign(args: &SignArgs) -> ExitCode {
    let secret = match secret(args) {
        Ok(secret) => secret,
        Err(problem) => return usage_error(&problem),
    };
    let body = match &args.body {
        None => Ok(sample()),
        Some(path) => read(path),
    };
    let body = match body {
        Ok(body) => body,
        Err(problem) => return usage_error(&problem),
    };
    let Some(header) = signature(&secret, SystemClock.now(), body.as_bytes()) else {
        return usage_error(&"WORKOS_WEBHOOK_SECRET is empty");
    };
    if args.curl {
        print_unchanged(&format!(
            "curl -i -X POST {} \\\n  -H 'Content-Type: application/json' \\\n  \
             -H 'WorkOS-Signature: {header}' \\\n  --data-binary {}",
            quoted(&args.url),
            quoted(&body)
        ));
    } else {
        print(&format!("WorkOS-Signature: {header}"));
        if args.body.is_none() {
            print_unchanged(&body);
        }
    }
    ExitCode::SUCCESS
}

fn secret(args: &SignArgs) -> Result<SecretString, &'static str> {
    let text = match (&args.workos_webhook_secret, &args.workos_webhook_secret_file) {
        (Some(secret), None) => secret.expose_secret().to_owned(),
        (None, Some(file)) => std::fs::read_to_string(file).map_err(
            |_| "WORKOS_WEBHOOK_SECRET_FILE (--workos-webhook-secret-file) cannot be read",
        )?,
        (None, None) => {
            return Err("WORKOS_WEBHOOK_SECRET is not set (option --workos-webhook-secret-file)");
        }
        (Some(_), Some(_)) => {
            return Err(
                "WORKOS_WEBHOOK_SECRET is set both directly and as a file: set one of them",
            );
        }
    };
    let first = text.split(',').next().unwrap_or_default().trim();
    if first.is_empty() {
        Err("WORKOS_WEBHOOK_SECRET is empty")
    } else {
        Ok(SecretString::from(first.to_owned()))
    }
}

fn read(path: &PathBuf) -> Result<String, String> {
    let mut body = String::new();
    let read = if path.as_os_str() == "-" {
        std::io::stdin().take(MAX_BODY).read_to_string(&mut body)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(MAX_BODY).read_to_string(&mut body))
    };
    read.map(|_| body)
        .map_err(|error| format!("{} cannot be read: {}", path.display(), error.kind()))
}

/// An event with new ids. WorkOS has no such code, so a real worker makes it a dead letter with the
/// reason `not_found`.
fn sample() -> String {
    let now = SystemClock.now();
    let made = sandbox::workos::MagicAuth {
        id: format!("magic_auth_{}", ulid(now)),
        event_id: format!("event_{}", ulid(now)),
        user_id: format!("user_{}", ulid(now)),
        email: "alice@example.com".to_owned(),
        code: String::new(),
        created_at: now,
        expires_at: now.saturating_add(sandbox::workos::LIFE).unwrap_or(now),
    };
    made.event()
}

/// Quotes `text` for a POSIX shell.
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
