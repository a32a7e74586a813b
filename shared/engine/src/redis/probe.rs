//! Whether claims can be made: makes one, on a key of its own. And what the server says about itself.

use domain::fault::{Fault, Reason};

use super::{accepted::with_create, connection::RedisConnection};

/// How long the key of the probe is kept, in milliseconds.
const KEPT: u64 = 1000;

/// Claims an event that does not exist, with the script of the real claims. What stands in the way of
/// them stands in its way.
pub(super) async fn probe(connection: &RedisConnection) -> Result<(), Fault> {
    let script = with_create(include_str!("scripts/claim.lua"));
    let mut call = script.key([connection.prefix(), ":event:probe"]);
    // The lease ends at once, so that the next probe makes a claim as well.
    call.arg("probe").arg(0).arg(KEPT);
    connection.call::<redis::Value>(&call).await.map(drop)
}

impl RedisConnection {
    /// Makes a claim on a key of its own, and asks the server about itself. `None` if
    /// claims can be made and the server does not tell.
    pub async fn server_info(&self) -> Result<Option<ServerInfo>, Fault> {
        self.ready().await.map_err(|why| Fault::transient(Reason::DedupeUnavailable, why))?;
        probe(self).await?;
        // Hosters keep INFO to themselves.
        let Ok(info) = self.ask::<redis::InfoDict>(&redis::cmd("INFO")).await else {
            return Ok(None);
        };
        Ok(Some(ServerInfo {
            version: info.get("redis_version").unwrap_or_default(),
            eviction_policy: info.get("maxmemory_policy"),
            append_only: info.get::<i64>("aof_enabled") == Some(1),
        }))
    }
}

/// What a server says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerInfo {
    pub version: String,
    /// `maxmemory-policy`; must be `noeviction`. `None` if the server does not tell.
    pub eviction_policy: Option<String>,
    /// Whether every write goes to the append-only file.
    pub append_only: bool,
}
