//! `REDIS_URL`, parsed: servers, nodes of a cluster, or sentinels that know the master.

use std::{fmt, sync::Arc};

use redis::{ProtocolVersion, RedisConnectionInfo};
use runtime::tls::{Trust, TrustError};
use rustls::ClientConfig;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

/// Where Redis is and how to connect to it.
#[derive(Clone)]
pub struct RedisConfig {
    pub(super) places: Vec<Place>,
    pub(super) tls: Arc<ClientConfig>,
}

/// What one of the URLs names.
#[derive(Clone)]
pub(super) enum Place {
    /// A server, or a node of a cluster.
    Server(Server),
    /// Sentinels, of which each knows where the master of this name is.
    Sentinels {
        sentinels: Vec<Server>,
        name: String,
        /// How to log in at the master.
        login: RedisConnectionInfo,
    },
}

/// One server or one sentinel.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) encrypted: bool,
    pub(super) login: RedisConnectionInfo,
}

/// Why `REDIS_URL` cannot be used. Never repeats it: it holds a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRedisUrl {
    #[error(
        "must be a URL such as redis://user:password@host:6379/0 or rediss://…; what follows the \
         host is the number of a database. Several nodes have white space between them"
    )]
    Form,
    #[error(
        "must be a URL such as redis+sentinel://user:password@host:26379,host:26379/NAME/0, with \
         the NAME that the sentinels have for the master"
    )]
    Sentinel,
    #[error("has an unknown parameter; known are: protocol, sentinel_user, sentinel_password")]
    Parameter,
}

impl RedisConfig {
    /// Parses one or several URLs with white space between them.
    pub fn parse(urls: &SecretString, trust: &Trust) -> Result<Self, InvalidRedisUrl> {
        let places: Vec<Place> = urls
            .expose_secret()
            .split_ascii_whitespace()
            .map(Place::parse)
            .collect::<Result<_, _>>()?;
        if places.is_empty() {
            return Err(InvalidRedisUrl::Form);
        }
        Ok(Self { places, tls: Arc::clone(trust.client()) })
    }

    /// Shows servers that ask for one a certificate of ours, by a chain and a private key (PEM).
    pub fn with_identity(
        self,
        trust: &Trust,
        identity: (&[u8], &[u8]),
    ) -> Result<Self, TrustError> {
        Ok(Self { tls: trust.client_for(None, Some(identity))?, ..self })
    }
}

/// Shows hosts and no passwords.
impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let servers = self.places.iter().flat_map(|place| match place {
            Place::Server(server) => std::slice::from_ref(server),
            Place::Sentinels { sentinels, .. } => sentinels,
        });
        let servers = servers.map(|Server { host, port, .. }| format!("{host}:{port}"));
        f.debug_struct("RedisConfig")
            .field("servers", &servers.collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}

impl Place {
    fn parse(text: &str) -> Result<Self, InvalidRedisUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidRedisUrl::Form)?;
        let (encrypted, by_sentinel) = match scheme {
            "redis" => (false, false),
            "rediss" => (true, false),
            "redis+sentinel" => (false, true),
            "rediss+sentinel" => (true, true),
            _ => return Err(InvalidRedisUrl::Form),
        };
        if by_sentinel { sentinels(rest, encrypted) } else { server(rest, encrypted) }
    }
}

fn server(rest: &str, encrypted: bool) -> Result<Place, InvalidRedisUrl> {
    let url = parse(rest).ok_or(InvalidRedisUrl::Form)?;
    known(&url, &["protocol"])?;
    let database = url.path().trim_start_matches('/');
    let login = login(&url, database).ok_or(InvalidRedisUrl::Form)?;
    let (host, port) = address(&url, 6379);
    Ok(Place::Server(Server { host, port, encrypted, login }))
}

fn sentinels(rest: &str, encrypted: bool) -> Result<Place, InvalidRedisUrl> {
    let invalid = || InvalidRedisUrl::Sentinel;
    let (authority, path) = rest.split_once('/').ok_or_else(invalid)?;
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let first = hosts.split(',').next().unwrap_or_default();
    let url = parse(&format!("{user}@{first}/{path}")).ok_or_else(invalid)?;
    known(&url, &["protocol", "sentinel_user", "sentinel_password"])?;
    let path = url.path().trim_matches('/');
    let (name, database) = path.split_once('/').unwrap_or((path, ""));
    let login_of_master = login(&url, database).filter(|_| !name.is_empty()).ok_or_else(invalid)?;
    let mut login = RedisConnectionInfo::default();
    for (parameter, value) in url.query_pairs() {
        match &*parameter {
            "sentinel_user" => login = login.set_username(value),
            "sentinel_password" => login = login.set_password(value),
            _ => {}
        }
    }
    let sentinels = hosts.split(',').map(|host| {
        let (host, port) = address(&parse(host)?, 26379);
        Some(Server { host, port, encrypted, login: login.clone() })
    });
    Ok(Place::Sentinels {
        sentinels: sentinels.collect::<Option<_>>().ok_or_else(invalid)?,
        name: decoded(name),
        login: login_of_master,
    })
}

/// The parts of a URL, whatever its scheme is.
fn parse(rest: &str) -> Option<Url> {
    Url::parse(&format!("redis://{rest}")).ok().filter(Url::has_host)
}

fn known(url: &Url, parameters: &[&str]) -> Result<(), InvalidRedisUrl> {
    let is_known = url.query_pairs().all(|(name, _)| parameters.contains(&&*name));
    if is_known { Ok(()) } else { Err(InvalidRedisUrl::Parameter) }
}

fn address(url: &Url, usual_port: u16) -> (String, u16) {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    (decoded(host), url.port().unwrap_or(usual_port))
}

fn login(url: &Url, database: &str) -> Option<RedisConnectionInfo> {
    let mut login = RedisConnectionInfo::default();
    if !url.username().is_empty() {
        login = login.set_username(decoded(url.username()));
    }
    if let Some(password) = url.password() {
        login = login.set_password(decoded(password));
    }
    if !database.is_empty() {
        login = login.set_db(i64::from(database.parse::<u32>().ok()?));
    }
    match url.query_pairs().find(|(name, _)| name == "protocol").as_ref().map(|(_, v)| &**v) {
        None | Some("2" | "resp2") => Some(login),
        Some("3" | "resp3") => Some(login.set_protocol(ProtocolVersion::RESP3)),
        Some(_) => None,
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests;
