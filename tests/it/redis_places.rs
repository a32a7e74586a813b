//! Redis as hosters set it up: a cluster, and a master that sentinels know.

use std::{sync::Arc, time::Duration};

use domain::nonces::NonceStore as _;
use engine::redis::{RedisConfig, RedisConnection, RedisNonces};
use redis::aio::MultiplexedConnection;
use runtime::tls::Trust;
use secrecy::SecretString;

use crate::{
    contracts::redis_rights::use_everything,
    harness::{
        eventually,
        redis::{RedisServer, order},
    },
};

const KEEP: Duration = Duration::from_secs(60);

fn connection(url: &str) -> Arc<RedisConnection> {
    let trust = Trust::load(None).expect("usable");
    let config = RedisConfig::parse(&SecretString::from(url.to_owned()), &trust).expect("a URL");
    Arc::new(RedisConnection::new(&config, "authpost"))
}

/// Two nodes, each with half of the slots.
struct Cluster {
    nodes: [RedisServer; 2],
    admins: [MultiplexedConnection; 2],
    ids: [String; 2],
}

impl Cluster {
    async fn start() -> Self {
        let nodes = [RedisServer::node().await, RedisServer::node().await];
        let mut admins = [nodes[0].connect().await, nodes[1].connect().await];
        for (admin, slots) in admins.iter_mut().zip([0..8192, 8192..16384]) {
            let slots: Vec<String> = slots.map(|slot| slot.to_string()).collect();
            let add = format!("CLUSTER ADDSLOTS {}", slots.join(" "));
            order::<()>(admin, &add).await.expect("added");
        }
        // The second argument of a meeting is the port of the bus, which is 10,000 above by default.
        let meet = format!("CLUSTER MEET 127.0.0.1 {}", nodes[1].port);
        order::<()>(&mut admins[0], &meet).await.expect("met");
        let mut ids = [String::new(), String::new()];
        for (admin, id) in admins.iter_mut().zip(&mut ids) {
            *id = order(admin, "CLUSTER MYID").await.expect("an id");
            let all = async |mut admin: MultiplexedConnection| {
                let info: String = order(&mut admin, "CLUSTER INFO").await.expect("answers");
                info.contains("cluster_state:ok").then_some(())
            };
            eventually("the cluster is complete", async || all(admin.clone()).await).await;
        }
        Self { nodes, admins, ids }
    }

    fn url(&self, node: usize) -> String {
        format!("redis://127.0.0.1:{}", self.nodes[node].port)
    }

    /// Which node has the slot of our keys.
    async fn owner(&mut self) -> usize {
        let slot: u32 =
            order(&mut self.admins[0], "CLUSTER KEYSLOT {authpost}:x").await.expect("a slot");
        usize::from(slot > 8191)
    }

    /// Gives the slot of our keys, without the keys, to the other node.
    async fn move_slot(&mut self) {
        let (from, slot) = (self.owner().await, "CLUSTER KEYSLOT {authpost}:x");
        let slot: u32 = order(&mut self.admins[from], slot).await.expect("a slot");
        order::<()>(&mut self.admins[from], "FLUSHALL").await.expect("emptied");
        let to = &self.ids[1 - from];
        let command = format!("CLUSTER SETSLOT {slot} NODE {to}");
        for admin in [1 - from, from] {
            order::<()>(&mut self.admins[admin], &command).await.expect("moved");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: ./scripts/test"]
async fn a_cluster_has_all_keys_in_one_slot_and_is_entered_by_any_node() {
    let mut cluster = Cluster::start().await;
    for node in [0, 1] {
        // A script with keys in two slots would be refused with CROSSSLOT.
        use_everything(connection(&cluster.url(node))).await;
        let owner = cluster.owner().await;
        let keys: i64 = order(&mut cluster.admins[1 - owner], "DBSIZE").await.expect("a number");
        assert_eq!(keys, 0, "the other node has none");
        let admin = &mut cluster.admins[owner];
        let keys: Vec<String> = order(admin, "KEYS *").await.expect("keys");
        assert!(
            keys.len() > 4 && keys.iter().all(|key| key.starts_with("{authpost}:")),
            "{keys:?}"
        );
        order::<()>(admin, "FLUSHALL").await.expect("emptied");
    }
    let dead = "redis://127.0.0.1:1";
    let nonces = RedisNonces::new(connection(&format!("{dead} {}", cluster.url(0))));
    assert_eq!(nonces.consume("before", KEEP).await, Ok(true), "the second URL is tried, too");
    cluster.move_slot().await;
    eventually("the keys are found at their new node", async || {
        nonces.consume("after", KEEP).await.ok().filter(|consumed| *consumed).map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: ./scripts/test"]
async fn the_master_that_sentinels_know_is_followed() {
    let master = RedisServer::ordinary(&[]).await;
    let replicated = format!("127.0.0.1 {}", master.port);
    let replica = RedisServer::ordinary(&["--replicaof", &replicated]).await;
    drop(master.connect().await);
    let configuration = format!(
        "sentinel monitor my-master {replicated} 1\nsentinel down-after-milliseconds my-master 500\n"
    );
    let files = [("sentinel.conf", configuration.as_str())];
    let arguments = ["sentinel.conf", "--sentinel", "--port", "PORT", "--bind", "127.0.0.1"];
    let sentinel = RedisServer::with_files(&files, &arguments).await;
    let admin = sentinel.connect().await;

    let url = format!("redis+sentinel://127.0.0.1:1,127.0.0.1:{}/my-master/1", sentinel.port);
    let connection = connection(&url);
    use_everything(Arc::clone(&connection)).await;
    let nonces = RedisNonces::new(connection);
    assert_eq!(nonces.consume("before", KEEP).await, Ok(true));
    eventually("the sentinel knows the replica and fails over to it", async || {
        order::<()>(&mut admin.clone(), "SENTINEL FAILOVER my-master").await.ok()
    })
    .await;
    eventually("nonces are at the new master", async || {
        drop(nonces.consume("after", KEEP).await);
        let mut promoted = replica.connect().await;
        order::<()>(&mut promoted, "SELECT 1").await.ok()?;
        let role: redis::Value = order(&mut promoted, "ROLE").await.ok()?;
        let is_there: bool = order(&mut promoted, "EXISTS authpost:spent:after").await.ok()?;
        (is_there && format!("{role:?}").contains("master")).then_some(())
    })
    .await;
    let unknown = format!("redis+sentinel://127.0.0.1:{}/other", sentinel.port);
    let refused = RedisNonces::new(self::connection(&unknown)).consume("x", KEEP).await;
    assert!(refused.is_err_and(|fault| fault.detail.contains("know no master of this name")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Redis: ./scripts/test"]
async fn the_third_protocol_is_spoken_if_the_url_says_so() {
    let server = RedisServer::ordinary(&[]).await;
    drop(server.connect().await);
    use_everything(connection(&format!("redis://127.0.0.1:{}/2?protocol=3", server.port))).await;
}
