//! The options for signing in, from text to settings.

use std::{num::NonZeroU32, time::Duration};

use domain::sign_in::state::StateKey;
use ingress::{
    proxies::Proxies,
    sign_in::{SignInConfig, cookies::Cookies, origins::Origins},
};
use runtime::http::client::is_loopback;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;
use workos::ApiConfig;

use super::{args, parse::Reader, process::listed, settings::SignInSettings};

/// Least length of a state secret, in bytes.
const LEAST_SECRET: usize = 16;

const SECRET: &str = "AUTHPOST_STATE_SECRET";

/// `Some(None)` when signing in is off; `None` when a problem was noted.
pub(super) type SignIn = Option<Option<SignInSettings>>;

/// Whether signing in is configured.
pub(super) fn is_on(args: &args::SignInOptions) -> bool {
    args.workos_client_id.is_some()
}

/// `api` is missing when it could not be read, which was noted.
pub(super) fn read(
    reader: &mut Reader,
    args: args::SignInOptions,
    api: Option<&ApiConfig>,
) -> SignIn {
    let bools = [("false", false), ("true", true)];
    let page = reader.word("AUTHPOST_LOGIN_PAGE", &args.login_page, &bools);
    let disabled = reader.word("AUTHPOST_DISABLE_WORKOS_LOGIN", &args.disable_workos_login, &bools);
    let Some(client_id) = args.workos_client_id.clone() else {
        if page? {
            reader.problem("AUTHPOST_LOGIN_PAGE", "needs signing in: set WORKOS_CLIENT_ID");
        }
        return Some(None);
    };
    let limits = limits(reader, &args);
    let client_id = client_id_of(reader, client_id);
    let pages = pages(reader, &args, page);
    let base =
        args.workos_signin_base_url.map_or(Some(None), |text| base_url(reader, &text).map(Some));
    let required = reader.word("AUTHPOST_REQUIRE_ORGANIZATION", &args.require_organization, &bools);
    let secret = reader.secret(SECRET, args.state_secret, args.state_secret_file);
    require_long(reader, secret.as_ref())?;
    let (api, client_id) = (api?.clone(), client_id?);
    let browser_base = base?.unwrap_or_else(|| api.url.clone());
    let issuers = args.signin_issuers.map_or_else(
        || default_issuers([&api.url, &browser_base], &client_id),
        |text| listed(&text),
    );
    if issuers.is_empty() {
        reader.problem("AUTHPOST_SIGNIN_ISSUERS", "names no issuer");
    }
    let (rate, workos_rate, state_life) = limits?;
    let Pages { origins, redirect_url, cookies } = pages?;
    let config = SignInConfig {
        client_id,
        browser_base,
        origins,
        state_key: state_key(reader, secret.as_ref().unwrap_or(api.key.get().secret()))?,
        redirect_url,
        login_page: page?,
        organization_required: required?,
        enabled: !disabled?,
        rate,
        workos_rate,
        state_life,
        cookies,
        proxies: Proxies::default(),
    };
    Some(Some(SignInSettings { config, api, issuers, page: page? }))
}

/// Sign-ins per minute and address, calls to WorkOS per second, and how long a sign-in may take.
fn limits(
    reader: &mut Reader,
    args: &args::SignInOptions,
) -> Option<(NonZeroU32, NonZeroU32, Duration)> {
    let rate = reader.within("AUTHPOST_SIGNIN_RATE", &args.signin_rate, 1, 1_000_000);
    let workos_rate =
        reader.within("AUTHPOST_SIGNIN_WORKOS_RATE", &args.signin_workos_rate, 1, 100_000);
    let (least, most) = (Duration::from_secs(60), Duration::from_hours(24));
    let state_life =
        reader.duration("AUTHPOST_SIGNIN_STATE_LIFE", &args.signin_state_life, least, most);
    let number = |number: u64| u32::try_from(number).ok().and_then(NonZeroU32::new);
    Some((number(rate?)?, number(workos_rate?)?, state_life?))
}

fn require_long(reader: &mut Reader, secret: Option<&SecretString>) -> Option<()> {
    let long = secret.is_none_or(|secret| secret.expose_secret().len() >= LEAST_SECRET);
    let rule = || format!("must be at least {LEAST_SECRET} characters");
    reader.note(SECRET, long.then_some(()).ok_or_else(rule))
}

fn state_key(reader: &mut Reader, secret: &SecretString) -> Option<StateKey> {
    reader.note(SECRET, StateKey::new(secret).ok_or("is empty"))
}

/// The pages that people sign in at.
struct Pages {
    origins: Origins,
    redirect_url: Option<Url>,
    cookies: Cookies,
}

fn pages(reader: &mut Reader, args: &args::SignInOptions, page: Option<bool>) -> Option<Pages> {
    let origins = origins(reader, args.signin_origins.clone(), page)?;
    let cookies = cookies(reader, &origins, args.cookie_domain.as_deref());
    let redirect_url = redirect_url(reader, &origins, args.signin_redirect_url.as_deref()).ok();
    Some(Pages { redirect_url: redirect_url?, cookies: cookies?, origins })
}

/// The login page on a loopback address needs no listed origin.
fn origins(reader: &mut Reader, text: Option<String>, page: Option<bool>) -> Option<Origins> {
    const VARIABLE: &str = "AUTHPOST_SIGNIN_ORIGINS";
    match text {
        None if page == Some(true) => Some(Origins::default()),
        text => reader
            .required(VARIABLE, text)
            .and_then(|text| reader.note(VARIABLE, Origins::parse(text.split(',')))),
    }
}

/// The pages that sign people in must be on hosts that get the cookies.
fn cookies(reader: &mut Reader, origins: &Origins, domain: Option<&str>) -> Option<Cookies> {
    const VARIABLE: &str = "AUTHPOST_COOKIE_DOMAIN";
    let Some(domain) = domain else { return Some(Cookies::default()) };
    let cookies = Cookies::shared(domain).ok_or("must be a domain such as example.com");
    let cookies = reader.note(VARIABLE, cookies)?;
    let mut hosts =
        origins.listed().filter_map(|origin| Url::parse(&origin.replace('*', "any")).ok());
    let reached = hosts.any(|url| cookies.reach(&url));
    let rule = "no origin of AUTHPOST_SIGNIN_ORIGINS is a host of it";
    reader.note(VARIABLE, reached.then_some(cookies).ok_or(rule))
}

/// `Err` when a problem was noted.
fn redirect_url(
    reader: &mut Reader,
    origins: &Origins,
    text: Option<&str>,
) -> Result<Option<Url>, ()> {
    let Some(text) = text else { return Ok(None) };
    let url = origins.redirect(text).ok_or("must be a URL within AUTHPOST_SIGNIN_ORIGINS");
    reader.note("AUTHPOST_SIGNIN_REDIRECT_URL", url).map(Some).ok_or(())
}

/// The client ID becomes a part of paths and queries.
fn client_id_of(reader: &mut Reader, id: String) -> Option<String> {
    let plain = (1..=128).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    reader.note(
        "WORKOS_CLIENT_ID",
        plain.then_some(id).ok_or("must be a client ID such as client_01ABC"),
    )
}

fn base_url(reader: &mut Reader, text: &str) -> Option<Url> {
    const VARIABLE: &str = "WORKOS_SIGNIN_BASE_URL";
    let url: Url =
        reader.parsed(VARIABLE, text, "must be a URL such as https://auth.example.com")?;
    let fits =
        url.scheme() == "https" && url.has_host() || url.scheme() == "http" && is_loopback(&url);
    reader.note(
        VARIABLE,
        fits.then_some(url)
            .ok_or("must begin with https://; plain http:// is accepted for this machine only"),
    )
}

/// The issuers that WorkOS uses: old environments the URL of the API, new ones that of the client.
fn default_issuers(bases: [&Url; 2], client_id: &str) -> Vec<String> {
    let of = |base: &Url| {
        let base = base.as_str().trim_end_matches('/').to_owned();
        [format!("{base}/user_management/{client_id}"), base]
    };
    bases.into_iter().flat_map(of).collect()
}
