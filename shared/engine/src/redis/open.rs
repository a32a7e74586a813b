//! Finds the server that takes our writes, and connects to it: the one that a URL names, the master
//! that a sentinel knows, or the node of a cluster that has the slot of our keys.

use std::{io, sync::Arc, time::Duration};

use domain::fault::Fault;
use redis::{
    AsyncConnectionConfig, RedisConnectionInfo, Value, aio::MultiplexedConnection,
    from_redis_value_ref,
};
use runtime::dial::dial;
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_rustls::TlsConnector;

use super::{
    call::{Keys, tagged},
    config::{Place, RedisConfig, Server},
    refusal::{classify, unavailable},
};

/// A connection, and how keys are sent over it.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) connection: MultiplexedConnection,
    pub(super) keys: Keys,
}

/// Tries the places in turn. Returns what the last one said if there is no connection.
pub(super) async fn open(
    config: &RedisConfig,
    prefix: &str,
    limit: Duration,
) -> Result<Open, Fault> {
    let mut failed = unavailable("no connection");
    for place in &config.places {
        match timeout(limit, open_place(place, &config.tls, prefix)).await {
            Ok(Ok(open)) => return Ok(open),
            Ok(Err(fault)) => failed = fault,
            Err(_) => failed = unavailable("no connection in time"),
        }
    }
    Err(failed)
}

async fn open_place(place: &Place, tls: &Arc<ClientConfig>, prefix: &str) -> Result<Open, Fault> {
    match place {
        Place::Server(server) => open_server(server, tls, prefix).await,
        Place::Sentinels { sentinels, name, login } => {
            let mut failed = unavailable("no sentinel answers");
            for sentinel in sentinels {
                match master(sentinel, tls, name, login).await {
                    Ok(master) => return open_server(&master, tls, prefix).await,
                    Err(fault) => failed = fault,
                }
            }
            Err(failed)
        }
    }
}

/// Asks a sentinel where the master is.
async fn master(
    sentinel: &Server,
    tls: &Arc<ClientConfig>,
    name: &str,
    login: &RedisConnectionInfo,
) -> Result<Server, Fault> {
    let asking = async {
        let mut connection = connect(sentinel, tls).await?;
        let mut question = redis::cmd("SENTINEL");
        question.arg("GET-MASTER-ADDR-BY-NAME").arg(name);
        let found: Option<(String, u16)> =
            question.query_async(&mut connection).await.map_err(|error| classify(&error))?;
        found.ok_or_else(|| unavailable("the sentinels know no master of this name"))
    };
    // The next sentinel is to get its chance.
    let answer = timeout(ONE_SENTINEL, asking).await;
    let (host, port) = answer.map_err(|_| unavailable("no sentinel answers in time"))??;
    Ok(Server { host, port, encrypted: sentinel.encrypted, login: login.clone() })
}

/// Longest wait for one sentinel.
const ONE_SENTINEL: Duration = Duration::from_secs(3);

/// Connects to a server, or to the node of its cluster that has our slot.
async fn open_server(
    server: &Server,
    tls: &Arc<ClientConfig>,
    prefix: &str,
) -> Result<Open, Fault> {
    let mut connection = connect(server, tls).await?;
    let Some((host, port)) = node(&mut connection, prefix).await? else {
        return Ok(Open { connection, keys: Keys::AsTheyAre });
    };
    // A node that does not know its own name is the one that was asked.
    let host = if host.is_empty() { server.host.clone() } else { host };
    if (host.as_str(), port) == (server.host.as_str(), server.port) {
        return Ok(Open { connection, keys: Keys::Tagged });
    }
    let connection = connect(&Server { host, port, ..server.clone() }, tls).await?;
    Ok(Open { connection, keys: Keys::Tagged })
}

/// Host and port of the node with the slot of our keys; `None` if this is not a cluster.
async fn node(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> Result<Option<(String, u16)>, Fault> {
    let mut slot = redis::cmd("CLUSTER");
    slot.arg("KEYSLOT").arg(tagged(prefix));
    let slot: i64 = match slot.query_async(connection).await {
        Ok(slot) => slot,
        Err(error) if error.is_io_error() => return Err(classify(&error)),
        // Only a node of a cluster answers this without an error.
        Err(_) => return Ok(None),
    };
    let mut slots = redis::cmd("CLUSTER");
    slots.arg("SLOTS");
    let ranges: Vec<Value> =
        slots.query_async(connection).await.map_err(|error| classify(&error))?;
    let owner = ranges.iter().find_map(|range| owner_of(range, slot));
    owner.map(Some).ok_or_else(|| unavailable("no node of the cluster has the slot of our keys"))
}

/// The master of a range of slots, if the slot is in it: `[first, last, [host, port, …], …]`.
fn owner_of(range: &Value, slot: i64) -> Option<(String, u16)> {
    let Value::Array(range) = range else { return None };
    let [first, last, Value::Array(master), ..] = range.as_slice() else { return None };
    let number = |value| from_redis_value_ref::<i64>(value).ok();
    let [host, port, ..] = master.as_slice() else { return None };
    let is_in = (number(first)?..=number(last)?).contains(&slot);
    let host: Option<String> = from_redis_value_ref(host).ok()?;
    is_in.then_some((host.unwrap_or_default(), from_redis_value_ref(port).ok()?))
}

/// A stream, encrypted or not.
trait Transport: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Transport for S {}

/// TCP, TLS and login. Has no deadline of its own.
async fn connect(server: &Server, tls: &Arc<ClientConfig>) -> Result<MultiplexedConnection, Fault> {
    let stream = stream(server, tls).await.map_err(|error| classify(&error.into()))?;
    // Replies are waited for by whoever asks.
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
    let connecting = MultiplexedConnection::new_with_config(&server.login, stream, config);
    let (connection, driver) = connecting.await.map_err(|error| classify(&error))?;
    // Ends with the last handle of the connection.
    tokio::spawn(driver);
    Ok(connection)
}

async fn stream(server: &Server, tls: &Arc<ClientConfig>) -> io::Result<Box<dyn Transport>> {
    let tcp = dial(&server.host, server.port).await?;
    if !server.encrypted {
        return Ok(Box::new(tcp));
    }
    let name = ServerName::try_from(server.host.clone()).map_err(io::Error::other)?;
    Ok(Box::new(TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await?))
}
