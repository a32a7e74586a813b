//! Monitoring: every metric that rules and dashboards name exists, every alert has its runbook, and
//! a real Prometheus scrapes the processes.

use std::{
    collections::BTreeSet,
    path::Path,
    process::{Child, Command, Stdio},
};

use runtime::metrics::Metrics;
use serde_json::Value;

use crate::{
    crash::World,
    harness::{
        app::fresh_prefix,
        eventually,
        program::{Program, lasting_listener},
        queues::delete_queues,
        raw_http,
        services::Services,
    },
};

const DASHBOARD: &str = include_str!("../../deploy/grafana/authpost.json");
const RULES: &str = include_str!("../../deploy/prometheus/rules.yml");
const OPERATIONS: &str = include_str!("../../docs/OPERATIONS.md");

/// Every word in a text that looks like a metric of ours.
fn named(text: &str) -> BTreeSet<&str> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == ':'));
    words.filter(|word| word.starts_with("authpost_") || word.starts_with("process_")).collect()
}

fn offered() -> BTreeSet<String> {
    let metrics = Metrics::new("test").expect("declared rightly");
    metrics.relay("relay").connection_limit(1);
    let exposition = metrics.expose();
    let series = exposition.lines().filter(|line| !line.starts_with('#'));
    series.filter_map(|line| line.split(['{', ' ']).next()).map(str::to_owned).collect()
}

#[test]
fn dashboard_and_rules_name_no_metric_that_is_not_there() {
    let offered = offered();
    for (what, text) in [("dashboard", DASHBOARD), ("rules", RULES), ("operations", OPERATIONS)] {
        // Of a histogram a text may name the whole.
        let known =
            |name: &&str| offered.contains(*name) || offered.contains(&format!("{name}_count"));
        let unknown: Vec<_> = named(text).into_iter().filter(|name| !known(name)).collect();
        assert!(unknown.is_empty(), "the {what} names {unknown:?}");
    }
}

#[test]
fn the_dashboard_shows_every_metric() {
    let shown = named(DASHBOARD);
    let base = |name: &str| {
        ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|end| name.strip_suffix(end))
            .unwrap_or(name)
            .to_owned()
    };
    let shown: BTreeSet<_> = shown.into_iter().map(base).collect();
    let missing: Vec<_> = offered()
        .iter()
        .map(|name| base(name))
        .filter(|name| name.starts_with("authpost_") && !shown.contains(name))
        .collect();
    assert!(missing.is_empty(), "nowhere to be seen: {missing:?}");
    let dashboard: Value = serde_json::from_str(DASHBOARD).expect("JSON");
    let ids: BTreeSet<_> = dashboard["panels"]
        .as_array()
        .expect("panels")
        .iter()
        .map(|panel| panel["id"].as_u64())
        .collect();
    assert_eq!(ids.len(), dashboard["panels"].as_array().expect("panels").len());
}

#[test]
fn every_alert_has_its_paragraph() {
    let alerts: Vec<_> =
        RULES.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    let runbooks: Vec<_> = RULES
        .split("runbook: docs/OPERATIONS.md#")
        .skip(1)
        .filter_map(|rest| rest.split([' ', '\n']).next())
        .collect();
    assert_eq!(runbooks.len(), alerts.len(), "an alert has no runbook");
    for runbook in runbooks {
        let heading = OPERATIONS
            .lines()
            .filter_map(|line| line.strip_prefix("### "))
            .find(|heading| heading.to_lowercase() == runbook);
        assert!(heading.is_some(), "there is no paragraph {runbook}");
    }
}

/// A Prometheus of our own. Killed with its test.
struct Prometheus {
    child: Child,
    at: std::net::SocketAddr,
}

impl Prometheus {
    async fn start(folder: &Path, targets: &[std::net::SocketAddr]) -> Self {
        let listener = lasting_listener().await;
        let at = listener.local_addr().expect("an address");
        drop(listener);
        let targets: Vec<_> = targets.iter().map(|target| format!("'{target}'")).collect();
        std::fs::write(folder.join("rules.yml"), RULES).expect("written");
        let config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: \
             [rules.yml]\nscrape_configs: [{{ job_name: authpost, static_configs: [{{ targets: \
             [{}] }}] }}]\n",
            targets.join(", ")
        );
        std::fs::write(folder.join("prometheus.yml"), config).expect("written");
        let child = Command::new("prometheus")
            .arg(format!("--config.file={}", folder.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", folder.join("tsdb").display()))
            .arg(format!("--web.listen-address={at}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("Prometheus is installed: ./scripts/test");
        Self { child, at }
    }

    async fn get(&self, path: &str) -> Option<Value> {
        tokio::net::TcpStream::connect(self.at).await.ok()?;
        // Of HTTP/1.0, which has no chunks.
        let answer =
            raw_http::send(self.at, format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await;
        let (_, body) =
            answer.split_once("\r\n\r\n").filter(|_| raw_http::status(&answer) == 200)?;
        serde_json::from_str(body).ok()
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ, Redis and Prometheus: ./scripts/test"]
async fn prometheus_takes_what_both_roles_offer() {
    let (world, services, prefix) = (World::new().await, Services::shared(), fresh_prefix());
    let env = world.on_brokers(services, &prefix);
    let ingress = Program::start("ingress", &env, &world.log()).await;
    let worker = Program::start("worker", &env, &world.log()).await;
    world.ask(&ingress, "alice@example.com").await;
    let prometheus = Prometheus::start(world.folder.path(), &[ingress.admin, worker.admin]).await;
    let up = async || {
        let answer = prometheus.get("/api/v1/targets?state=active").await?;
        let targets = answer["data"]["activeTargets"].as_array()?;
        let complaints: Vec<_> = targets
            .iter()
            .map(|target| target["lastError"].as_str().unwrap_or_default().to_owned())
            .collect();
        assert!(complaints.iter().all(String::is_empty), "{complaints:?}");
        (targets.len() == 2 && targets.iter().all(|target| target["health"] == "up")).then_some(())
    };
    eventually("both targets are up", up).await;
    eventually("the mail is seen", async || {
        let answer = prometheus
            .get("/api/v1/query?query=sum(authpost_outcomes_total%7Boutcome%3D%22sent%22%7D)")
            .await?;
        (answer["data"]["result"][0]["value"][1] == "1").then_some(())
    })
    .await;
    let rules = eventually("the rules are evaluated", async || {
        let answer = prometheus.get("/api/v1/rules").await?;
        let rules: Vec<Value> = answer["data"]["groups"]
            .as_array()?
            .iter()
            .flat_map(|group| group["rules"].as_array().cloned().unwrap_or_default())
            .collect();
        rules.iter().all(|rule| rule["health"] == "ok").then_some(rules)
    })
    .await;
    let firing: Vec<_> = rules
        .iter()
        .filter(|rule| rule["state"] == "firing")
        .map(|rule| rule["name"].clone())
        .collect();
    assert!(firing.is_empty(), "{firing:?} on a good day");
    drop(prometheus);
    ingress.stop().await;
    worker.stop().await;
    delete_queues(services.amqp_url(), &prefix).await;
}
