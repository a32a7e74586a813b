//! Metrics of the process itself, under the names that Prometheus's client libraries share
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>). Read from
//! `/proc` (proc_pid_stat(5)) at each scrape; absent where that cannot be read.

use std::{fs, sync::LazyLock, time::Duration};

use nix::{
    sys::resource::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
    unistd::{SysconfVar, sysconf},
};
use prometheus::{
    Counter, Gauge,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Names and descriptions of the gauges, in the order of [`Usage::gauges`].
const GAUGES: [(&str, &str); 6] = [
    ("process_open_fds", "Number of open file descriptors."),
    ("process_max_fds", "Maximum number of open file descriptors."),
    ("process_virtual_memory_bytes", "Virtual memory size in bytes."),
    ("process_resident_memory_bytes", "Resident memory size in bytes."),
    ("process_start_time_seconds", "Start time of the process since unix epoch in seconds."),
    ("process_threads", "Number of OS threads in the process."),
];

/// Collects the metrics of this process.
pub(super) struct ProcessCollector {
    cpu_seconds: Counter,
    gauges: Vec<Gauge>,
}

impl ProcessCollector {
    pub(super) fn new() -> Result<Self, prometheus::Error> {
        let cpu = "Total user and system CPU time spent in seconds.";
        Ok(Self {
            cpu_seconds: Counter::new("process_cpu_seconds_total", cpu)?,
            gauges: GAUGES
                .into_iter()
                .map(|(name, help)| Gauge::new(name, help))
                .collect::<Result<_, _>>()?,
        })
    }

    fn families(&self) -> Vec<MetricFamily> {
        let gauges = self.gauges.iter().flat_map(Collector::collect);
        self.cpu_seconds.collect().into_iter().chain(gauges).collect()
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.cpu_seconds
            .desc()
            .into_iter()
            .chain(self.gauges.iter().flat_map(Gauge::desc))
            .collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // Fresh metrics for each scrape: concurrent scrapes cannot add to one counter.
        let (Some(usage), Ok(fresh)) = (Usage::read(), Self::new()) else { return Vec::new() };
        fresh.cpu_seconds.inc_by(usage.cpu_seconds);
        fresh.gauges.iter().zip(usage.gauges).for_each(|(gauge, value)| gauge.set(value));
        fresh.families()
    }
}

#[derive(Debug, PartialEq)]
struct Usage {
    cpu_seconds: f64,
    gauges: [f64; 6],
}

/// When the machine started, in seconds since the epoch. Not from `/proc/stat`, which a service
/// manager may hide; and read one time, so that the start time does not vary.
static BOOT: LazyLock<Option<f64>> = LazyLock::new(|| {
    let uptime = Duration::from(clock_gettime(ClockId::CLOCK_BOOTTIME).ok()?);
    let now = Duration::from(clock_gettime(ClockId::CLOCK_REALTIME).ok()?);
    Some(now.checked_sub(uptime)?.as_secs_f64())
});

/// The units that `/proc` counts in.
struct Units {
    ticks_per_second: f64,
    page_bytes: f64,
    /// When the machine started, in seconds since the epoch.
    boot_seconds: f64,
}

impl Usage {
    fn read() -> Option<Self> {
        let open_fds = fs::read_dir("/proc/self/fd").ok()?.count();
        let (max_fds, _) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
        let units = Units {
            ticks_per_second: number(sysconf(SysconfVar::CLK_TCK).ok()??),
            page_bytes: number(sysconf(SysconfVar::PAGE_SIZE).ok()??),
            boot_seconds: (*BOOT)?,
        };
        let process = fs::read_to_string("/proc/self/stat").ok()?;
        parse(&process, &units, [number(open_fds), number(max_fds)])
    }
}

/// Reads one line of `/proc/PID/stat`.
fn parse(stat: &str, units: &Units, [open_fds, max_fds]: [f64; 2]) -> Option<Usage> {
    // The second field is the name of the program in parentheses, which may contain both.
    let (_, fields) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    // Numbered as in the manual, where the first one here is the third.
    let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
    let (user, system, threads) = (field(14)?, field(15)?, field(20)?);
    let (started, virtual_bytes, resident_pages) = (field(22)?, field(23)?, field(24)?);
    Some(Usage {
        cpu_seconds: (user + system) / units.ticks_per_second,
        gauges: [
            open_fds,
            max_fds,
            virtual_bytes,
            resident_pages * units.page_bytes,
            units.boot_seconds + started / units.ticks_per_second,
            threads,
        ],
    })
}

/// Counts of the operating system, far below 2^32 or meant as "no limit".
fn number(count: impl TryInto<u32>) -> f64 {
    count.try_into().map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests;
