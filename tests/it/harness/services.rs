//! A private RabbitMQ and Redis, started by `scripts/services` and gone with this process.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;

/// Running services. Their keeper ends, and they with it, when its standard input does.
pub struct Services {
    pub amqp_url: Option<String>,
    pub redis_url: Option<String>,
    /// Port of RabbitMQ for clients with a certificate.
    pub amqps_port: Option<u16>,
    /// Their processes when they started.
    pub pids: Vec<u32>,
    keeper: Mutex<Keeper>,
}

struct Keeper {
    child: Child,
    commands: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Services {
    /// The ones all tests of this run share, each under a prefix of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Services> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&["rabbitmq", "redis"], None))
    }

    /// Private instances, for a test that breaks them.
    pub fn private(names: &[&str]) -> Self {
        Self::start(names, None)
    }

    /// A private RabbitMQ that also takes clients with a certificate: of the authority in `ca.pem` in
    /// this folder, which has `server.pem` and `key.pem`, too.
    pub fn with_certificates(folder: &Path) -> Self {
        Self::start(&["rabbitmq"], Some(folder))
    }

    fn start(names: &[&str], certificates: Option<&Path>) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/services");
        let certificates = certificates.map(|folder| ("RABBITMQ_TLS", folder));
        let mut child = Command::new(script)
            .args(names)
            .envs(certificates)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("scripts/services starts");
        let commands = child.stdin.take();
        let mut answers = BufReader::new(child.stdout.take().expect("piped"));
        let (mut amqp_url, mut redis_url, mut amqps_port) = (None, None, None);
        let mut pids = Vec::new();
        loop {
            let mut line = String::new();
            assert!(
                answers.read_line(&mut line).expect("readable") > 0,
                "RabbitMQ or Redis did not start: see above, and run ./scripts/test"
            );
            match line.trim().split_once('=') {
                Some(("AMQP_URL", url)) => amqp_url = Some(url.to_owned()),
                Some(("REDIS_URL", url)) => redis_url = Some(url.to_owned()),
                Some(("AMQPS_PORT", port)) => amqps_port = port.parse().ok(),
                Some((name, pid)) if name.starts_with("PID_") => {
                    pids.push(pid.parse().expect("a process id"));
                }
                _ => break,
            }
        }
        let keeper = Mutex::new(Keeper { child, commands, answers });
        Self { amqp_url, redis_url, amqps_port, pids, keeper }
    }

    pub fn amqp_url(&self) -> &str {
        self.amqp_url.as_deref().expect("RabbitMQ was asked for")
    }

    pub fn redis_url(&self) -> &str {
        self.redis_url.as_deref().expect("Redis was asked for")
    }

    /// Carries out one of the script's commands, which block, while everything else goes on.
    pub async fn carry_out(self: &Arc<Self>, command: &'static str) {
        let services = Arc::clone(self);
        tokio::task::spawn_blocking(move || services.command(command)).await.expect("carried out");
    }

    /// Carries out one of the script's commands.
    pub fn command(&self, command: &str) {
        let mut keeper = self.keeper.lock();
        writeln!(keeper.commands.as_mut().expect("running"), "{command}")
            .expect("the keeper listens");
        let mut answer = String::new();
        keeper.answers.read_line(&mut answer).expect("the keeper answers");
        assert_eq!(answer.trim(), "done", "{command}");
    }
}

impl Drop for Services {
    fn drop(&mut self) {
        let keeper = self.keeper.get_mut();
        keeper.commands = None;
        drop(keeper.child.wait());
        let left: Vec<_> = self
            .pids
            .iter()
            .filter(|pid| Path::new(&format!("/proc/{pid}/cmdline")).exists())
            .collect();
        assert!(
            left.is_empty() || std::thread::panicking(),
            "scripts/services left {left:?} behind"
        );
    }
}
