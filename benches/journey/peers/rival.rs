//! Authpost, and what a team would write instead of it, as processes.

use std::{
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use lapin::{Connection, ConnectionProperties, options::QueueDeleteOptions};
use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

use super::{Services, Usage, World, harness};
use crate::harness::{
    app::free_port,
    installed::{folder, installed},
    queues::waiting_queues,
};

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Rival {
    Authpost,
    Node,
    Python,
}

pub const RIVALS: [Rival; 3] = [Rival::Authpost, Rival::Node, Rival::Python];

/// What all of them work with.
pub struct Environment<'a> {
    pub world: &'a World,
    pub services: &'a Services,
    pub prefix: String,
}

/// A process with all that it has started. Killed at the end.
pub struct Running {
    child: Child,
    address: Option<SocketAddr>,
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address.expect("an ingress")
    }

    /// The sum over the process and its children.
    pub fn usage(&self) -> Usage {
        let mut sum = Usage::default();
        for pid in tree(self.child.id()) {
            let Usage { peak_mib, cpu } = Usage::of(pid);
            sum.peak_mib += peak_mib;
            sum.cpu += cpu;
        }
        sum
    }

    /// SIGKILL to all of it.
    pub fn kill(&mut self) {
        let group = Pid::from_raw(self.child.id().cast_signed());
        // Fails where it has ended by itself.
        killpg(group, Signal::SIGKILL).unwrap_or_default();
        drop(self.child.wait());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

fn tree(pid: u32) -> Vec<u32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    let below = children.split_whitespace().flat_map(|child| tree(child.parse().expect("an id")));
    std::iter::once(pid).chain(below).collect()
}

impl Rival {
    pub fn name(self) -> &'static str {
        match self {
            Self::Authpost => "Authpost",
            Self::Node => "Node",
            Self::Python => "Python",
        }
    }

    /// What it is made of.
    pub fn versions(self) -> String {
        let output = |program: &str| {
            let output = Command::new(program).arg("--version").output().expect("installed");
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        let manifest = |file: &str| {
            let path = sources().join(file);
            let text = std::fs::read_to_string(path).expect("there");
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        };
        match self {
            Self::Authpost => env!("CARGO_PKG_VERSION").to_owned(),
            Self::Node => format!("{}, {}", output("node"), manifest("node/package.json")),
            Self::Python => {
                format!("{}, {}", output("python3"), manifest("python/requirements.txt"))
            }
        }
    }

    pub async fn ingress(self, environment: &Environment<'_>) -> Running {
        let port = free_port().await.local_addr().expect("bound").port();
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let listen = port.to_string();
        let mut command = match self {
            Self::Authpost => authpost("ingress", environment).await,
            Self::Node => node("ingress.mjs"),
            Self::Python => {
                let mut uvicorn = python(&["-m", "uvicorn", "ingress:app", "--port", &listen]);
                uvicorn.args(["--no-access-log", "--log-level", "warning"]);
                uvicorn
            }
        };
        command.env("AUTHPOST_LISTEN", address.to_string()).env("PORT", listen);
        let running = start(command, environment, Some(address));
        harness::eventually("the ingress takes webhooks", async || {
            tokio::net::TcpStream::connect(address).await.ok()?;
            // The others listen when they are ready, or connect at the first webhook.
            let ready = self != Self::Authpost
                || harness::raw_http::get(address, "/healthz").await.0 == 200;
            ready.then_some(())
        })
        .await;
        running
    }

    pub async fn worker(self, environment: &Environment<'_>) -> Running {
        let command = match self {
            Self::Authpost => authpost("worker", environment).await,
            Self::Node => node("worker.mjs"),
            Self::Python => {
                let worker = ["-m", "celery", "-A", "tasks", "worker", "--concurrency", "8"];
                let mut celery = python(&worker);
                celery.args(["--loglevel", "ERROR", "--without-gossip", "--without-mingle"]);
                celery
            }
        };
        start(command, environment, None)
    }
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/peers")
}

async fn authpost(role: &str, environment: &Environment<'_>) -> Command {
    let mut command = harness::program::command(&[role]);
    let admin = free_port().await.local_addr().expect("bound");
    command.envs(environment.world.on_brokers(environment.services, &environment.prefix));
    command.env("AUTHPOST_ADMIN_LISTEN", admin.to_string());
    command
}

fn node(file: &str) -> Command {
    let folder = folder("peers-node");
    for file in ["package.json", "ingress.mjs", "worker.mjs"] {
        std::fs::copy(sources().join("node").join(file), folder.join(file)).expect("copied");
    }
    let mut install = Command::new("npm");
    install.args(["install", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder);
    assert!(installed(&folder, &mut install), "npm cannot install the Node peer");
    let mut command = Command::new("node");
    command.arg(file).current_dir(folder).env("NODE_ENV", "production");
    command
}

fn python(args: &[&str]) -> Command {
    let (folder, sources) = (folder("peers-python"), sources().join("python"));
    let mut install = Command::new("python3");
    install.args(["-m", "pip", "install", "--quiet", "--target"]).arg(&folder);
    install.arg("-r").arg(sources.join("requirements.txt"));
    assert!(installed(&folder, &mut install), "pip cannot install the Python peer");
    let mut command = Command::new("python3");
    command.args(args).current_dir(&sources).env("PYTHONPATH", folder);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command
}

fn start(
    mut command: Command,
    environment: &Environment<'_>,
    address: Option<SocketAddr>,
) -> Running {
    let World { workos, inbox, .. } = environment.world;
    let relay = inbox.address();
    let log = std::fs::File::options().create(true).append(true).open(environment.world.log());
    command
        .env("AMQP_URL", environment.services.amqp_url())
        .env("REDIS_URL", environment.services.redis_url())
        .env("QUEUE", format!("{}.peer", environment.prefix))
        .env("SECRET", harness::app::SECRET)
        .env("API_URL", workos.url())
        .env("API_KEY", harness::app::API_KEY)
        .env("SMTP_HOST", relay.ip().to_string())
        .env("SMTP_PORT", relay.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("a log"))
        .process_group(0);
    Running { child: command.spawn().expect("starts"), address }
}

/// Removes the queues of whoever worked under this prefix, with what is left in them.
pub async fn forget(url: &str, prefix: &str) {
    let connection =
        Connection::connect(url, ConnectionProperties::default()).await.expect("connects");
    let channel = connection.create_channel().await.expect("a channel");
    let others = [format!("{prefix}.dead"), format!("{prefix}.peer")];
    for queue in waiting_queues(prefix).into_iter().chain(others) {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await.expect("deleted");
    }
    connection.close(200, "bye".into()).await.expect("closed");
}
