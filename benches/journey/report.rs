//! The table, and what a process used.

use std::io::Write as _;

/// Memory and CPU time of one process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Highest resident memory so far, in MiB.
    pub peak_mib: f64,
    /// CPU seconds; after `since`, microseconds an event.
    pub cpu: f64,
}

impl Usage {
    /// As the kernel says (proc(5)).
    pub fn of(pid: u32) -> Self {
        let read =
            |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).expect("running");
        let status = read("status");
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .expect("a peak")
            .trim()
            .trim_end_matches(" kB")
            .to_owned();
        let stat = read("stat");
        // After the name in brackets: state is field 3, utime and stime are fields 14 and 15, in
        // hundredths of a second.
        let fields: Vec<f64> = stat
            .rsplit(')')
            .next()
            .expect("fields")
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|field| field.parse().expect("a number"))
            .collect();
        Self {
            peak_mib: peak.parse::<f64>().expect("a number") / 1024.0,
            cpu: fields.iter().sum::<f64>() / 100.0,
        }
    }

    /// The peak now, and the CPU time since `before` for each of `events`, in microseconds.
    #[must_use]
    pub fn since(self, before: &Self, events: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let events = events as f64;
        Self { peak_mib: self.peak_mib, cpu: (self.cpu - before.cpu) * 1e6 / events }
    }
}

/// CPU time of everything on the machine that an event costs: ours, the engines', and this
/// process's servers.
#[derive(Debug, Clone, Default)]
pub struct Shares {
    /// Microseconds an event of RabbitMQ and Redis.
    pub engines: f64,
    /// Microseconds an event of the load, or of the stand-in and the sink.
    pub around: f64,
}

impl Shares {
    /// The CPU seconds so far of the engines and of this process.
    pub fn now(engines: &[u32]) -> Self {
        Self {
            engines: engines.iter().map(|pid| Usage::of(*pid).cpu).sum(),
            around: Usage::of(std::process::id()).cpu,
        }
    }

    /// What was used since `before` for each of `events`, in microseconds.
    #[must_use]
    pub fn since(self, before: &Self, events: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
        let share = |now: f64, then: f64| (now - then) * 1e6 / events as f64;
        Self {
            engines: share(self.engines, before.engines),
            around: share(self.around, before.around),
        }
    }
}

/// The measurements of one run, as printed.
#[derive(Debug, Default)]
pub struct Report {
    pub broker: f64,
    pub broker_at_64: f64,
    pub ingress_around: Shares,
    pub worker_around: Shares,
    pub relay: f64,
    pub ingress: f64,
    pub ingress_usage: Usage,
    pub worker: f64,
    pub worker_usage: Usage,
    pub embedded_front: f64,
    pub embedded: f64,
    pub embedded_usage: Usage,
    pub traced: f64,
    pub traced_usage: Usage,
    /// Spans an event that reached the collector.
    pub spans_kept: f64,
    /// Bytes of memory in Redis that a mailed event leaves.
    pub redis_kept: f64,
    /// Bytes on disk that a mailed event leaves.
    pub embedded_kept: f64,
    pub latency: (f64, f64),
    /// Median and 99th percentile of the answer, in milliseconds, with slow senders on 2,000
    /// connections.
    pub besieged: (f64, f64),
    pub besieged_usage: Usage,
}

impl Report {
    /// One line a figure: what, how much, and what it should be.
    #[expect(clippy::too_many_lines, reason = "a table: one figure a line")]
    pub fn print(&self) {
        let rows = [
            (
                "(a) broker's own limit: confirmed publishes",
                format!("{:.0}/s", self.broker),
                String::new(),
                None,
            ),
            (
                "(a) the same with 64 in flight",
                format!("{:.0}/s", self.broker_at_64),
                format!("{:.2} x (a)", self.broker_at_64 / self.broker),
                None,
            ),
            (
                "(b) ingress: deliveries accepted, 64 connections",
                format!("{:.0}/s", self.ingress),
                format!("{:.2} x (a)", self.ingress / self.broker),
                Some((self.ingress / self.broker >= 0.6, ">= 0.6 x (a)")),
            ),
            (
                "(b) next to 64 bare publishes in flight",
                String::new(),
                format!("{:.2}", self.ingress / self.broker_at_64),
                None,
            ),
            (
                "(c) relay's own limit: mails, 32 connections",
                format!("{:.0}/s", self.relay),
                String::new(),
                None,
            ),
            (
                "(d) worker: mails through RabbitMQ and Redis",
                format!("{:.0}/s", self.worker),
                format!("{:.2} x (c)", self.worker / self.relay),
                Some((
                    self.worker / self.relay >= 0.4 && self.worker >= 1200.0,
                    ">= 0.4 x (c), >= 1200/s",
                )),
            ),
            (
                "(e) embedded: deliveries accepted while mailing",
                format!("{:.0}/s", self.embedded_front),
                String::new(),
                None,
            ),
            (
                "(e) embedded: events end to end, each fsynced",
                format!("{:.0}/s", self.embedded),
                String::new(),
                Some((self.embedded >= 1500.0, ">= 1500/s")),
            ),
            (
                "(f) webhook to relay's 250 at 100/s, median",
                format!("{:.1} ms", self.latency.0),
                String::new(),
                Some((self.latency.0 <= 10.0, "<= 10 ms")),
            ),
            (
                "(f) the same, 99th percentile",
                format!("{:.1} ms", self.latency.1),
                String::new(),
                Some((self.latency.1 <= 40.0, "<= 40 ms")),
            ),
            (
                "(g) ingress: peak memory",
                format!("{:.1} MiB", self.ingress_usage.peak_mib),
                String::new(),
                Some((self.ingress_usage.peak_mib <= 20.0, "<= 20 MiB")),
            ),
            (
                "(g) worker: peak memory",
                format!("{:.1} MiB", self.worker_usage.peak_mib),
                String::new(),
                Some((self.worker_usage.peak_mib <= 30.0, "<= 30 MiB")),
            ),
            (
                "(g) embedded, both roles: peak memory",
                format!("{:.1} MiB", self.embedded_usage.peak_mib),
                String::new(),
                None,
            ),
            (
                "(h) ingress: CPU time an event",
                format!("{:.0} us", self.ingress_usage.cpu),
                String::new(),
                None,
            ),
            (
                "(h)   meanwhile RabbitMQ",
                format!("{:.0} us", self.ingress_around.engines),
                String::new(),
                None,
            ),
            (
                "(h)   meanwhile the load itself",
                format!("{:.0} us", self.ingress_around.around),
                String::new(),
                None,
            ),
            (
                "(h) worker: CPU time an event",
                format!("{:.0} us", self.worker_usage.cpu),
                String::new(),
                None,
            ),
            (
                "(h)   meanwhile RabbitMQ and Redis",
                format!("{:.0} us", self.worker_around.engines),
                String::new(),
                None,
            ),
            (
                "(h)   meanwhile WorkOS's stand-in and the sink",
                format!("{:.0} us", self.worker_around.around),
                String::new(),
                None,
            ),
            (
                "(h) embedded, both roles: CPU time an event",
                format!("{:.0} us", self.embedded_usage.cpu),
                String::new(),
                None,
            ),
            (
                "(i) answer with 2,000 slow senders, median",
                format!("{:.1} ms", self.besieged.0),
                String::new(),
                None,
            ),
            (
                "(i) the same, 99th percentile",
                format!("{:.1} ms", self.besieged.1),
                String::new(),
                Some((self.besieged.1 <= 100.0, "<= 100 ms")),
            ),
            (
                "(i) ingress: peak memory",
                format!("{:.1} MiB", self.besieged_usage.peak_mib),
                String::new(),
                None,
            ),
            (
                "(j) embedded with traces: CPU time an event",
                format!("{:.0} us", self.traced_usage.cpu),
                format!("{:.2} x (h)", self.traced_usage.cpu / self.embedded_usage.cpu),
                None,
            ),
            (
                "(j) the same: events end to end",
                format!("{:.0}/s", self.traced),
                format!("{:.2} x (e)", self.traced / self.embedded),
                None,
            ),
            (
                "(j) spans an event that reached the collector",
                format!("{:.1}", self.spans_kept),
                String::new(),
                None,
            ),
            (
                "(k) kept of a mailed event: Redis, memory",
                format!("{:.0} B", self.redis_kept),
                String::new(),
                None,
            ),
            (
                "(k) kept of a mailed event: embedded, disk",
                format!("{:.0} B", self.embedded_kept),
                String::new(),
                None,
            ),
        ];
        let mut out = std::io::stdout();
        writeln!(out, "{:<52} {:>12} {:>12}  goal", "figure", "measured", "ratio")
            .expect("printed");
        for (what, measured, ratio, goal) in rows {
            let goal = goal.map_or_else(String::new, |(reached, goal)| {
                format!("{goal}: {}", if reached { "reached" } else { "NOT REACHED" })
            });
            writeln!(out, "{what:<52} {measured:>12} {ratio:>12}  {goal}").expect("printed");
        }
    }
}
