//! The sign-in half, from options to settings.

use std::num::NonZeroU32;

use ingress::sign_in::{Rules, origins::Origins, visitors::Proxies};
use secrecy::{ExposeSecret as _, SecretString};
use shared::{http::client::stays_here, sign_in::state::StateKey};
use url::Url;

use super::{
    args,
    parse::Reader,
    settings::{SignIn, Workos},
};

/// Least length of a secret of one's own, in bytes.
const LEAST_SECRET: usize = 16;

pub(super) fn is_on(args: &args::SignIn) -> bool {
    args.workos_client_id.is_some()
}

/// `None` when it is not wanted, and when something is wrong, which is noted. `workos` is missing when that could not be
/// read.
pub(super) fn read(reader: &mut Reader, args: args::SignIn, workos: Option<&Workos>) -> Option<SignIn> {
    let bools = [("false", false), ("true", true)];
    let page = reader.word("AUTHPOST_LOGIN_PAGE", &args.login_page, &bools);
    let disabled = reader.word("AUTHPOST_DISABLE_WORKOS_LOGIN", &args.disable_workos_login, &bools);
    let Some(client_id) = args.workos_client_id else {
        if page? {
            reader.problem("AUTHPOST_LOGIN_PAGE", "needs the sign-in half: set WORKOS_CLIENT_ID");
        }
        return None;
    };
    let client_id = client(reader, client_id);
    let origins = origins(reader, args.signin_origins, page);
    let base = args.workos_signin_base_url.map_or(Some(None), |text| base_url(reader, &text).map(Some));
    let rate = reader.within("AUTHPOST_SIGNIN_RATE", &args.signin_rate, 1, 1_000_000);
    let proxies = args.trusted_proxies.map_or(Some(Proxies::default()), |text| proxies(reader, &text));
    let secret = reader.secret(SECRET, args.state_secret, args.state_secret_file);
    let long = secret.as_ref().is_none_or(|secret| secret.expose_secret().len() >= LEAST_SECRET);
    reader.note(SECRET, long.then_some(()).ok_or_else(|| format!("must be at least {LEAST_SECRET} characters")))?;
    let workos = workos?;
    let client_id = client_id?;
    let browser_base = base?.unwrap_or_else(|| workos.url.clone());
    let issuers = args.signin_issuers.map_or_else(|| usual_issuers([&workos.url, &browser_base], &client_id), |text| listed(&text));
    let rules = Rules {
        client_id,
        browser_base,
        origins: origins?,
        state_key: state_key(reader, secret.as_ref().unwrap_or(&workos.key))?,
        enabled: !disabled?,
        rate: NonZeroU32::new(u32::try_from(rate?).ok()?)?,
        proxies: proxies?,
    };
    Some(SignIn { rules, workos: workos.clone(), issuers, page: page? })
}

const SECRET: &str = "AUTHPOST_STATE_SECRET";

fn state_key(reader: &mut Reader, secret: &SecretString) -> Option<StateKey> {
    reader.note(SECRET, StateKey::new(secret).ok_or("is empty"))
}

/// A login page on this machine's own address needs none to be listed.
fn origins(reader: &mut Reader, text: Option<String>, page: Option<bool>) -> Option<Origins> {
    const VARIABLE: &str = "AUTHPOST_SIGNIN_ORIGINS";
    match text {
        None if page == Some(true) => Some(Origins::default()),
        text => reader.required(VARIABLE, text).and_then(|text| reader.note(VARIABLE, Origins::parse(text.split(',')))),
    }
}

/// It goes into paths and queries.
fn client(reader: &mut Reader, id: String) -> Option<String> {
    let plain = (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    reader.note("WORKOS_CLIENT_ID", plain.then_some(id).ok_or("must be a client ID such as client_01ABC"))
}

fn base_url(reader: &mut Reader, text: &str) -> Option<Url> {
    const VARIABLE: &str = "WORKOS_SIGNIN_BASE_URL";
    let url: Url = reader.parsed(VARIABLE, text, "must be a URL such as https://auth.example.com")?;
    let fits = url.scheme() == "https" && url.has_host() || url.scheme() == "http" && stays_here(&url);
    reader.note(VARIABLE, fits.then_some(url).ok_or("must begin with https://; plain http:// only for this machine"))
}

fn proxies(reader: &mut Reader, text: &str) -> Option<Proxies> {
    let network = |text: &str| {
        let text = text.trim();
        text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(ipnet::IpNet::from))
    };
    let all: Option<Vec<_>> = text.split(',').map(network).collect();
    reader.note("AUTHPOST_TRUSTED_PROXIES", all.map(Proxies::new).ok_or("must be networks such as 10.0.0.0/8, with commas between"))
}

fn listed(text: &str) -> Vec<String> {
    text.split(',').map(|issuer| issuer.trim().to_owned()).filter(|issuer| !issuer.is_empty()).collect()
}

/// Old environments sign as their API, new ones as their client, some with a slash at the end.
fn usual_issuers(bases: [&Url; 2], client_id: &str) -> Vec<String> {
    let of = |base: &Url| {
        let base = base.as_str().trim_end_matches('/').to_owned();
        [format!("{base}/user_management/{client_id}"), format!("{base}/"), base]
    };
    bases.into_iter().flat_map(of).collect()
}
