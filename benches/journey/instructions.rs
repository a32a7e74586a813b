//! What an event costs a process, counted instead of timed: instructions by Valgrind, system calls
//! by strace. Other processes on the machine do not change these figures by more than a percent or
//! two.
//!
//! `AUTHPOST_BENCH_BINARY` names another release to count in the same way.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use crate::{
    Program, Services, World, fresh_prefix,
    harness::{eventually, queues::delete_queues},
    load,
    report::Usage,
};

/// Events before the count, and events of the count.
const WARM_UP: usize = 500;
const EVENTS: usize = 2_000;

/// Keep-alive connections, each of which posts the next event when the last is answered.
const CONNECTIONS: usize = 8;

pub const ROLES: [&str; 3] = ["serve", "ingress", "worker"];

#[derive(Clone, Copy)]
enum Tool {
    Valgrind,
    Strace,
    Perf,
}

/// Samples the stacks of one process with both roles: `target/profiles/perf.serve`, for `perf script`
/// and a program that draws flame graphs.
pub async fn sample(folder: &Path) {
    std::fs::create_dir_all(folder).expect("a folder");
    let services = Services::private(&["rabbitmq", "redis"]);
    run(&services, Tool::Perf, "serve", folder).await;
}

/// Prints instructions and system calls an event of these roles, or of all, and leaves the profiles
/// in `folder`.
pub async fn measure(folder: &Path, roles: &[&str]) {
    std::fs::create_dir_all(folder).expect("a folder");
    let services = Services::private(&["rabbitmq", "redis"]);
    for role in ROLES.into_iter().filter(|role| roles.is_empty() || roles.contains(role)) {
        let (instructions, _) = run(&services, Tool::Valgrind, role, folder).await;
        let (calls, memory) = run(&services, Tool::Strace, role, folder).await;
        let (instructions, calls) = (load::share(instructions, EVENTS), load::share(calls, EVENTS));
        writeln!(
            std::io::stdout(),
            "{role}: {instructions:.0} instructions and {calls:.1} system calls an event, \
             {memory:.1} MiB at most"
        )
        .expect("somebody reads");
    }
}

/// The whole count of one role under one tool, and its peak memory in MiB.
async fn run(services: &Services, tool: Tool, role: &str, folder: &Path) -> (u64, f64) {
    let world = World::new(true).await;
    let prefix = fresh_prefix();
    let mut env = world.on_brokers(services, &prefix);
    if role == "serve" {
        env = world.env();
    }
    let log = world.log();
    let counted = Counted::start(tool, role, &env, &log, folder).await;
    let helper = match role {
        "worker" => Some(Program::start("ingress", &env, &log).await),
        _ => None,
    };
    let public = helper.as_ref().unwrap_or(&counted.program).public.expect("an ingress");
    let codes = world.codes(WARM_UP + EVENTS);
    let (warm_up, measured) = codes.split_at(WARM_UP);
    load::post_all(public, warm_up, CONNECTIONS).await;
    settled(&world, role, WARM_UP).await;
    let counting = counted.begin().await;
    load::post_all(public, measured, CONNECTIONS).await;
    settled(&world, role, WARM_UP + EVENTS).await;
    let count = (counting.end(), Usage::of(counted.program.pid()).peak_mib);
    let worker = match role {
        "ingress" => Some(Program::start("worker", &env, &log).await),
        _ => None,
    };
    world.inbox.reached((WARM_UP + EVENTS) as u64).await;
    for program in helper.into_iter().chain(worker).chain([counted.program]) {
        program.stop().await;
    }
    delete_queues(services.amqp_url(), &prefix).await;
    count
}

/// The ingress is done with its answers; the others with their mails.
async fn settled(world: &World, role: &str, mails: usize) {
    if role != "ingress" {
        world.inbox.reached(mails as u64).await;
    }
}

/// A role whose work can be counted.
struct Counted {
    program: Program,
    tool: Tool,
    file: PathBuf,
}

impl Counted {
    async fn start(
        tool: Tool,
        role: &str,
        env: &[(&str, String)],
        log: &Path,
        folder: &Path,
    ) -> Self {
        let file = folder.join(match tool {
            Tool::Valgrind => format!("callgrind.{role}"),
            Tool::Strace => format!("strace.{role}"),
            Tool::Perf => format!("perf.{role}"),
        });
        let out = format!("--callgrind-out-file={}", file.display());
        let launcher = ["valgrind", "--tool=callgrind", "--instr-atstart=no", "-q", &out];
        let launcher = match tool {
            Tool::Valgrind => launcher.as_slice(),
            Tool::Strace | Tool::Perf => &[],
        };
        Self { program: Program::start_under(launcher, role, env, log).await, tool, file }
    }

    async fn begin(&self) -> Counting<'_> {
        let pid = self.program.pid().to_string();
        let tracer = match self.tool {
            Tool::Valgrind => {
                callgrind(&["--instr=on", &pid]);
                None
            }
            Tool::Strace => Some(trace(&pid, &self.file).await),
            Tool::Perf => Some(record(&pid, &self.file).await),
        };
        Counting { of: self, pid, tracer }
    }
}

/// A count that has begun.
struct Counting<'a> {
    of: &'a Counted,
    pid: String,
    tracer: Option<std::process::Child>,
}

impl Counting<'_> {
    fn end(self) -> u64 {
        let file = &self.of.file;
        match self.tracer {
            None => {
                callgrind(&["--dump", &self.pid]);
                let dump = file.with_extension(format!("{}.1", extension(file)));
                instructions(&std::fs::read_to_string(dump).expect("a profile"))
            }
            Some(mut tracer) => {
                let id = nix::unistd::Pid::from_raw(tracer.id().cast_signed());
                nix::sys::signal::kill(id, nix::sys::signal::Signal::SIGINT).expect("running");
                tracer.wait().expect("ends");
                match self.of.tool {
                    Tool::Perf => 0,
                    _ => calls(&std::fs::read_to_string(file).expect("a summary")),
                }
            }
        }
    }
}

fn extension(file: &Path) -> &str {
    file.extension().and_then(std::ffi::OsStr::to_str).expect("the role")
}

fn callgrind(args: &[&str]) {
    let status = Command::new("callgrind_control").args(args).stdout(Stdio::null()).status();
    assert!(status.expect("valgrind is installed").success(), "callgrind_control {args:?}");
}

/// strace, attached to every thread of a process.
async fn trace(pid: &str, file: &Path) -> std::process::Child {
    let tracer = Command::new("strace")
        .args(["-f", "-c", "-U", "calls,name", "-p", pid, "-o"])
        .arg(file)
        .stderr(Stdio::null())
        .spawn()
        .expect("strace is installed");
    eventually("strace is attached to every thread", async || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).expect("running");
        let all = threads.map(|thread| thread.expect("a thread").path()).all(|thread| {
            std::fs::read_to_string(thread.join("status"))
                .is_ok_and(|status| !status.contains("TracerPid:\t0"))
        });
        all.then_some(())
    })
    .await;
    tracer
}

/// perf, attached to every thread of a process.
async fn record(pid: &str, file: &Path) -> std::process::Child {
    let recorder = Command::new("perf")
        .args(["record", "-F", "1999", "-e", "cpu-clock", "--call-graph", "dwarf,8192", "-p", pid])
        .arg("-o")
        .arg(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("perf is installed");
    eventually("perf records", async || file.exists().then_some(())).await;
    recorder
}

/// The sum in a profile of callgrind.
fn instructions(profile: &str) -> u64 {
    let sum = |name| profile.lines().find_map(|line| line.strip_prefix(name));
    sum("totals:").or_else(|| sum("summary:")).expect("a sum").trim().parse().expect("a number")
}

/// The sum in a summary of strace.
fn calls(summary: &str) -> u64 {
    let total = summary.lines().rfind(|line| line.trim_end().ends_with("total")).expect("a sum");
    total.split_ascii_whitespace().next().expect("a figure").parse().expect("a number")
}
