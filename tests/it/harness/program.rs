//! The real binary as a child process, for signals and exit codes.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::Path,
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::{account::Exposition, eventually, raw_http};

/// Where launchers are looked for.
const SEARCHED: &str = "/usr/bin:/bin:/usr/sbin:/sbin";

/// A running `authpost`. Killed if a test forgets it.
pub struct Program {
    child: Child,
    pub public: Option<SocketAddr>,
    pub admin: SocketAddr,
}

/// The binary under test: the one just built, or the one that `AUTHPOST_BENCH_BINARY` names.
fn binary() -> OsString {
    std::env::var_os("AUTHPOST_BENCH_BINARY")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_authpost").into())
}

/// `authpost` with nothing of our own environment but its number of threads, which benchmarks vary.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(binary());
    let threads = std::env::var_os("AUTHPOST_THREADS").map(|count| ("AUTHPOST_THREADS", count));
    command.args(args).env_clear().envs(threads).stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(args: &[&str], env: &[(&str, &str)]) -> Output {
    command(args).envs(env.iter().copied()).output().expect("runs")
}

/// Where an installation keeps its events, without which nobody can look into it.
pub const ENGINE: [&str; 4] =
    ["AMQP_URL", "REDIS_URL", "AUTHPOST_QUEUE_PREFIX", "AUTHPOST_DATA_DIR"];

/// The output and exit status of a command.
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// Runs a command beside what this test runs itself, with this environment.
pub async fn beside(args: &[&str], env: &[(&'static str, String)]) -> Said {
    let args: Vec<String> = args.iter().map(|arg| (*arg).to_owned()).collect();
    let env = env.to_vec();
    let running = tokio::task::spawn_blocking(move || {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let env: Vec<(&str, &str)> =
            env.iter().map(|(name, value)| (*name, value.as_str())).collect();
        run(&args, &env)
    });
    let Output { status, stdout, stderr } = running.await.expect("runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Said { code: status.code().expect("a code"), out: text(stdout), err: text(stderr) }
}

/// The variables of these names.
pub fn only(env: &[(&'static str, String)], names: &[&str]) -> Vec<(&'static str, String)> {
    env.iter().filter(|(name, _)| names.contains(name)).cloned().collect()
}

/// A listener out of reach of the ports that outgoing connections take: it can be given up and
/// taken again.
pub async fn lasting_listener() -> tokio::net::TcpListener {
    let listener = candidates()
        .find_map(|port| std::net::TcpListener::bind(("127.0.0.1", port)).ok())
        .expect("a free port");
    listener.set_nonblocking(true).expect("possible");
    tokio::net::TcpListener::from_std(listener).expect("a runtime is around")
}

/// A loopback port that was free a moment ago.
fn port() -> u16 {
    candidates()
        .find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .expect("a free port")
}

const PORTS: u16 = 6_000;

/// Ports below the range that outgoing connections use and above the one that `scripts/services`
/// takes its ports from. Each is offered to one test only, so that none takes what another has just
/// found free; they begin elsewhere in each process.
fn candidates() -> impl Iterator<Item = u16> {
    static BEGINNING: LazyLock<u16> = LazyLock::new(|| {
        u16::try_from(
            runtime::random::ulid(jiff::Timestamp::UNIX_EPOCH).random() % u128::from(PORTS),
        )
        .expect("small")
    });
    static OFFERED: AtomicU16 = AtomicU16::new(0);
    let next = || 26_000 + (*BEGINNING + OFFERED.fetch_add(1, Ordering::Relaxed) % PORTS) % PORTS;
    std::iter::repeat_with(next).take(PORTS.into())
}

impl Program {
    /// Starts a role. Its log goes to `log`.
    pub async fn start(role: &str, env: &[(&str, String)], log: &Path) -> Self {
        Self::start_under(&[], role, env, log).await
    }

    /// Starts a role through other programs, each of which becomes the next one.
    pub async fn start_under(
        launcher: &[&str],
        role: &str,
        env: &[(&str, String)],
        log: &Path,
    ) -> Self {
        let admin: SocketAddr = ([127, 0, 0, 1], port()).into();
        let public = (role != "worker").then(|| SocketAddr::from(([127, 0, 0, 1], port())));
        let file =
            std::fs::File::options().create(true).append(true).open(log).expect("a log file");
        let mut command = match launcher.split_first() {
            None => command(&[role]),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command
                    .args(rest)
                    .arg(binary())
                    .arg(role)
                    .env_clear()
                    .env("PATH", SEARCHED)
                    .stdin(Stdio::null());
                command
            }
        };
        command
            .env("AUTHPOST_ADMIN_LISTEN", admin.to_string())
            .env("AUTHPOST_LOG", "json")
            .envs(env.iter().map(|(k, v)| (*k, v.as_str())));
        if let Some(public) = public {
            command.env("AUTHPOST_LISTEN", public.to_string());
        }
        let child = command.stdout(Stdio::null()).stderr(file).spawn().expect("starts");
        let program = Self { child, public, admin };
        program.is_ready().await;
        program
    }

    pub async fn is_ready(&self) {
        let what = format!("{} is ready", self.admin);
        eventually(&what, async || {
            if tokio::net::TcpStream::connect(self.admin).await.is_err() {
                return None;
            }
            (self.readiness().await == 200).then_some(())
        })
        .await;
    }

    /// The status that `/readyz` answers with now.
    pub async fn readiness(&self) -> u16 {
        raw_http::get(self.admin, "/readyz").await.0
    }

    pub async fn exposition(&self) -> Exposition {
        Exposition::parse(&raw_http::get(self.admin, "/metrics").await.1)
    }

    pub fn webhook_url(&self) -> String {
        format!("http://{}/v1/workos_webhook/", self.public.expect("an ingress"))
    }

    /// SIGTERM, and a clean end.
    pub async fn stop(self) {
        self.signal(Signal::SIGTERM);
        assert!(self.ended().await.success(), "it ended by itself with 0");
    }

    pub fn resident(&self) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("running");
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
        line.split_ascii_whitespace().nth(1).expect("a number").parse::<u64>().expect("a number")
            / 1024
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.pid()).expect("a pid")), signal).expect("running");
    }

    pub async fn ended(mut self) -> ExitStatus {
        eventually("the process ends", async || self.child.try_wait().expect("ours")).await
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A command with a page of its own, such as the demo.
pub struct WithPage {
    child: Child,
    /// The URL of its page.
    pub page: String,
}

impl WithPage {
    /// Starts it with this folder for whatever it keeps.
    pub fn start(args: &[&str], folder: &Path) -> Self {
        use std::io::BufRead as _;
        let mut child =
            command(args).env("TMPDIR", folder).stdout(Stdio::piped()).spawn().expect("starts");
        let mut said = String::new();
        std::io::BufReader::new(child.stdout.take().expect("piped"))
            .read_line(&mut said)
            .expect("a line");
        let page = said
            .split(' ')
            .find(|word| word.starts_with("http://"))
            .expect("an address")
            .to_owned();
        Self { child, page }
    }

    /// SIGTERM, and a clean end.
    pub fn stop(mut self) {
        kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM).expect("alive");
        assert!(self.child.wait().expect("ends").success());
    }
}

impl Drop for WithPage {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
