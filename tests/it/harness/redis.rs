//! Servers of Redis in forms that hosters have: nodes of a cluster, a master with a replica and a
//! sentinel, TLS with client certificates.

use std::process::{Child, Command, Stdio};

use redis::aio::MultiplexedConnection;

use super::{eventually, program::lasting_listener};

/// One `redis-server`. Ends when dropped.
pub struct RedisServer {
    server: Child,
    pub port: u16,
    _folder: tempfile::TempDir,
}

impl RedisServer {
    /// Starts one with these arguments, in which `PORT` stands for its port.
    pub async fn start(arguments: &[&str]) -> Self {
        Self::with_files(&[], arguments).await
    }

    /// The same, with files in its folder, whose names are relative to that.
    pub async fn with_files(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("written");
        }
        // Not a port that the system would give to another test meanwhile.
        let port = lasting_listener().await.local_addr().expect("bound").port();
        let shown = port.to_string();
        let server = Command::new("redis-server")
            .args(arguments.iter().map(|argument| argument.replace("PORT", &shown)))
            .current_dir(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server starts");
        Self { server, port, _folder: folder }
    }

    /// An ordinary server with further arguments.
    pub async fn ordinary(arguments: &[&str]) -> Self {
        let usual = ["--port", "PORT", "--bind", "127.0.0.1", "--save", ""];
        Self::start(&[&usual, arguments].concat()).await
    }

    /// A node of a cluster. Its second port, 10,000 above, is one that the system gives to outgoing
    /// connections: while somebody has it, the node ends at once, and another takes its place.
    pub async fn node() -> Self {
        loop {
            let mut node = Self::ordinary(&["--cluster-enabled", "yes"]).await;
            let url = format!("redis://127.0.0.1:{}", node.port);
            let client = redis::Client::open(url).expect("a URL");
            let starts = eventually("a node starts or ends", async || {
                let has_ended = node.server.try_wait().expect("ours").is_some();
                let answers = client.get_multiplexed_async_connection().await.is_ok();
                (has_ended || answers).then_some(answers)
            });
            if starts.await {
                return node;
            }
        }
    }

    /// A connection, once the server answers.
    pub async fn connect(&self) -> MultiplexedConnection {
        let url = format!("redis://127.0.0.1:{}", self.port);
        let client = redis::Client::open(url).expect("a URL");
        let connect = async || client.get_multiplexed_async_connection().await.ok();
        eventually("Redis answers", connect).await
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// Sends a command, written as one would type it.
pub async fn order<T: redis::FromRedisValue>(
    connection: &mut MultiplexedConnection,
    command: &str,
) -> redis::RedisResult<T> {
    let mut words = command.split_whitespace();
    let mut order = redis::cmd(words.next().expect("a command"));
    for word in words {
        order.arg(word);
    }
    order.query_async(connection).await
}
