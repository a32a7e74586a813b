//! WorkOS's API, from options to settings.

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use shared::http::client::stays_here;
use url::Url;

use super::{args, parse::Reader, settings::Workos};

pub(super) fn read(reader: &mut Reader, args: args::Workos) -> Option<Workos> {
    let args::Workos { workos_api_key, workos_api_key_file, workos_api_url, workos_plaintext, workos_timeout } = args;
    let key = reader.secret(KEY, workos_api_key, workos_api_key_file);
    let key = reader.required(KEY, key).and_then(|key| api_key(reader, key));
    let plaintext = reader.word("AUTHPOST_WORKOS_PLAINTEXT", &workos_plaintext, &[("false", false), ("true", true)]);
    let url = api_url(reader, &workos_api_url, plaintext.unwrap_or(false));
    let timeout = reader.duration("AUTHPOST_WORKOS_TIMEOUT", &workos_timeout, Duration::from_millis(100), Duration::from_secs(30));
    Some(Workos { key: key?, url: url?, timeout: timeout? })
}

const KEY: &str = "WORKOS_API_KEY";

fn api_key(reader: &mut Reader, key: SecretString) -> Option<SecretString> {
    let plain = key.expose_secret().bytes().all(|byte| byte.is_ascii_graphic());
    reader.note(KEY, plain.then_some(key).ok_or("has a character that no HTTP header can carry"))
}

/// The key goes out with every request: over plain HTTP only on this machine, or by name.
fn api_url(reader: &mut Reader, text: &str, plaintext: bool) -> Option<Url> {
    const VARIABLE: &str = "WORKOS_API_URL";
    let url: Url = reader.parsed(VARIABLE, text, "must be a URL such as https://api.workos.com")?;
    match url.scheme() {
        "https" if url.has_host() => Some(url),
        "http" if plaintext || stays_here(&url) => Some(url),
        "http" => {
            reader.problem(
                VARIABLE,
                "would send the API key over an unencrypted connection: use https://, or set AUTHPOST_WORKOS_PLAINTEXT=true",
            );
            None
        }
        _ => {
            reader.problem(VARIABLE, "must begin with https://");
            None
        }
    }
}
