//! The options for the WorkOS API, from text to settings.

use std::time::Duration;

use runtime::{http::client::is_loopback, live::Live};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use workos::{ApiConfig, ApiKey};

use super::{args, parse::Reader};

pub(super) fn read(reader: &mut Reader, args: args::WorkosOptions) -> Option<ApiConfig> {
    const KEY: &str = "WORKOS_API_KEY";
    let args::WorkosOptions {
        workos_api_key,
        workos_api_key_file,
        workos_api_url,
        workos_plaintext,
        workos_timeout,
    } = args;
    let key = reader.workos_secret(KEY, workos_api_key, workos_api_key_file);
    refuse_sample(reader, KEY, key.as_ref(), &workos_api_url);
    let key = reader.required_secret(KEY, key).and_then(|key| reader.note(KEY, ApiKey::parse(key)));
    let plaintext = reader.word(
        "AUTHPOST_WORKOS_PLAINTEXT",
        &workos_plaintext,
        &[("false", false), ("true", true)],
    );
    let url = api_url(reader, &workos_api_url, plaintext.unwrap_or(false));
    let (least, most) = (Duration::from_millis(100), Duration::from_secs(30));
    let timeout = reader.duration("AUTHPOST_WORKOS_TIMEOUT", &workos_timeout, least, most);
    Some(ApiConfig { url: url?, key: Live::new(key?), timeout: timeout? })
}

/// The secrets in the repository's compose file, which are those of WorkOS's emulator.
const SAMPLES: [&str; 2] = ["whsec_sandbox", "sk_test_default"];

/// Refuses a secret that everybody knows beside an API that is not the emulator's. Of several,
/// separated by commas, each is looked at.
pub(super) fn refuse_sample(
    reader: &mut Reader,
    variable: &'static str,
    secrets: Option<&SecretString>,
    api_url: &str,
) {
    let mut each = secrets.into_iter().flat_map(|text| text.expose_secret().split(','));
    if api_url.starts_with("https://") && each.any(|secret| SAMPLES.contains(&secret.trim())) {
        reader.problem(
            variable,
            "is the sample of the compose file, which everybody knows: set your own, or a \
             WORKOS_API_URL of the emulator",
        );
    }
}

/// Every request carries the key: over plain HTTP only within this machine, or if that is switched
/// on by name.
fn api_url(reader: &mut Reader, text: &str, plaintext: bool) -> Option<Url> {
    const VARIABLE: &str = "WORKOS_API_URL";
    let url: Url = reader.parsed(VARIABLE, text, "must be a URL such as https://api.workos.com")?;
    let rule = match url.scheme() {
        "https" if url.has_host() => return Some(url),
        "http" if plaintext || is_loopback(&url) => return Some(url),
        "http" => {
            "would send the API key over an unencrypted connection: use https://, or set AUTHPOST_WORKOS_PLAINTEXT=true"
        }
        _ => "must begin with https://",
    };
    reader.problem(VARIABLE, rule);
    None
}
