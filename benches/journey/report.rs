//! The table, and what a process used.

use std::{borrow::Cow, io::Write as _};

use super::harness::strangers::Way;

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
    pub embedded_ingress: f64,
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
    /// How 4,096 connections of one address were held, and the 99th percentiles of the answer and
    /// of the way to the relay's 250 for others, in milliseconds.
    pub held: Vec<(Way, f64, f64)>,
}

/// One figure as it is printed.
#[derive(Clone)]
struct Row {
    what: Cow<'static, str>,
    measured: String,
    ratio: String,
    goal: String,
}

fn row(what: impl Into<Cow<'static, str>>, measured: String) -> Row {
    Row { what: what.into(), measured, ratio: String::new(), goal: String::new() }
}

fn rate(value: f64) -> String {
    format!("{value:.0}/s")
}

fn millis(value: f64) -> String {
    format!("{value:.1} ms")
}

fn memory(usage: &Usage) -> String {
    format!("{:.1} MiB", usage.peak_mib)
}

fn micros(value: f64) -> String {
    format!("{value:.0} us")
}

impl Row {
    fn ratio(self, value: f64, unit: &str) -> Self {
        Self { ratio: format!("{value:.2} {unit}"), ..self }
    }

    fn goal(self, reached: bool, goal: &str) -> Self {
        let result = if reached { "reached" } else { "NOT REACHED" };
        Self { goal: format!("{goal}: {result}"), ..self }
    }
}

fn print(rows: Vec<Row>) {
    let mut out = std::io::stdout();
    writeln!(out, "{:<60} {:>12} {:>12}  goal", "figure", "measured", "ratio").expect("printed");
    for Row { what, measured, ratio, goal } in rows {
        writeln!(out, "{what:<60} {measured:>12} {ratio:>12}  {goal}").expect("printed");
    }
}

impl Report {
    /// Prints one line for each figure: what, how much, and what it should be.
    pub fn print(&self) {
        print(
            [self.throughput(), self.latency(), self.held(), self.cost(), self.traces()].concat(),
        );
    }

    /// The figures of (l) alone.
    pub fn print_held(&self) {
        print(self.held());
    }

    fn throughput(&self) -> Vec<Row> {
        let (ingress, worker) = (self.ingress / self.broker, self.worker / self.relay);
        vec![
            row("(a) broker's own limit: confirmed publishes", rate(self.broker)),
            row("(a) the same with 64 in flight", rate(self.broker_at_64))
                .ratio(self.broker_at_64 / self.broker, "x (a)"),
            row("(b) ingress: deliveries accepted, 64 connections", rate(self.ingress))
                .ratio(ingress, "x (a)")
                .goal(ingress >= 0.6, ">= 0.6 x (a)"),
            row("(b) next to 64 bare publishes in flight", String::new())
                .ratio(self.ingress / self.broker_at_64, ""),
            row("(c) relay's own limit: mails, 32 connections", rate(self.relay)),
            row("(d) worker: mails through RabbitMQ and Redis", rate(self.worker))
                .ratio(worker, "x (c)")
                .goal(worker >= 0.4 && self.worker >= 1200.0, ">= 0.4 x (c), >= 1200/s"),
            row("(e) embedded: deliveries accepted while mailing", rate(self.embedded_ingress)),
            row("(e) embedded: events end to end, each fsynced", rate(self.embedded))
                .goal(self.embedded >= 1500.0, ">= 1500/s"),
        ]
    }

    fn held(&self) -> Vec<Row> {
        let rows = self.held.iter().flat_map(|(way, answered, mailed)| {
            let name = format!("(l) answer beside 4,096 connections, {way:?}, 99th percentile");
            [
                row(name, millis(*answered)).goal(*answered <= 100.0, "<= 100 ms"),
                row(format!("(l) webhook to relay's 250, {way:?}, the same"), millis(*mailed)),
            ]
        });
        rows.collect()
    }

    fn latency(&self) -> Vec<Row> {
        let (median, highest) = self.latency;
        let (slow_median, slow_highest) = self.besieged;
        vec![
            row("(f) webhook to relay's 250 at 100/s, median", millis(median))
                .goal(median <= 10.0, "<= 10 ms"),
            row("(f) the same, 99th percentile", millis(highest)).goal(highest <= 40.0, "<= 40 ms"),
            row("(i) answer with 2,000 slow senders, median", millis(slow_median)),
            row("(i) the same, 99th percentile", millis(slow_highest))
                .goal(slow_highest <= 100.0, "<= 100 ms"),
            row("(i) ingress: peak memory", memory(&self.besieged_usage)),
        ]
    }

    fn cost(&self) -> Vec<Row> {
        vec![
            row("(g) ingress: peak memory", memory(&self.ingress_usage))
                .goal(self.ingress_usage.peak_mib <= 20.0, "<= 20 MiB"),
            row("(g) worker: peak memory", memory(&self.worker_usage))
                .goal(self.worker_usage.peak_mib <= 30.0, "<= 30 MiB"),
            row("(g) embedded, both roles: peak memory", memory(&self.embedded_usage)),
            row("(h) ingress: CPU time per event", micros(self.ingress_usage.cpu)),
            row("(h)   meanwhile RabbitMQ", micros(self.ingress_around.engines)),
            row("(h)   meanwhile the load itself", micros(self.ingress_around.around)),
            row("(h) worker: CPU time per event", micros(self.worker_usage.cpu)),
            row("(h)   meanwhile RabbitMQ and Redis", micros(self.worker_around.engines)),
            row("(h)   meanwhile stand-in and sink", micros(self.worker_around.around)),
            row("(h) embedded, both roles: CPU time per event", micros(self.embedded_usage.cpu)),
            row(
                "(k) kept of a mailed event right after: Redis",
                format!("{:.0} B", self.redis_kept),
            ),
            row("(k) the same: embedded, disk", format!("{:.0} B", self.embedded_kept)),
        ]
    }

    fn traces(&self) -> Vec<Row> {
        let (cpu, pace) =
            (self.traced_usage.cpu / self.embedded_usage.cpu, self.traced / self.embedded);
        vec![
            row("(j) embedded with traces: CPU time per event", micros(self.traced_usage.cpu))
                .ratio(cpu, "x (h)"),
            row("(j) the same: events end to end", rate(self.traced)).ratio(pace, "x (e)"),
            row("(j) spans per event at the collector", format!("{:.1}", self.spans_kept)),
        ]
    }
}
