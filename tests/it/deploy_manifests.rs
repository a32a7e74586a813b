//! Deployment manifests: every variable they set exists, every secret comes from a file, nothing
//! runs as root.

use std::{collections::BTreeSet, path::Path, process::Command};

use crate::{harness::program::run, tidy};

const COMPOSE: &str = include_str!("../../docker-compose.yml");
const DOCKERFILE: &str = include_str!("../../Dockerfile");
const UNITS: [(&str, &str); 3] = [
    ("ingress", include_str!("../../deploy/systemd/authpost-ingress.service")),
    ("worker", include_str!("../../deploy/systemd/authpost-worker.service")),
    ("serve", include_str!("../../deploy/systemd/authpost.service")),
];

/// Every variable that a command knows.
fn known_to(command: &str) -> BTreeSet<String> {
    tidy::variables(&String::from_utf8_lossy(&run(&[command, "--help"], &[]).stdout))
}

/// The lines from one service's name to the next one's.
fn service(name: &str) -> String {
    let begin = COMPOSE.find(&format!("\n  {name}:\n")).expect("a service");
    let lines = COMPOSE[begin + 1..].lines().skip(1);
    lines
        .take_while(|line| line.starts_with("    ") || line.is_empty())
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn compose_sets_what_each_role_knows_and_secrets_come_from_files() {
    for role in ["ingress", "worker"] {
        let text = service(role);
        let unknown: Vec<_> = tidy::variables(&text).difference(&known_to(role)).cloned().collect();
        assert!(unknown.is_empty(), "the service {role} sets {unknown:?}");
        for secret in
            ["AMQP_URL:", "REDIS_URL:", "WORKOS_API_KEY:", "WORKOS_WEBHOOK_SECRET:", "SMTP_URL:"]
        {
            assert!(!text.contains(secret), "the service {role} has {secret} in its environment");
        }
    }
    for line in COMPOSE.lines().filter(|line| line.contains("file: ./")) {
        let file = line.split("file: ./").nth(1).expect("a file").trim_end_matches(" }");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(file).is_file(), "{file} is not there");
    }
    assert!(COMPOSE.contains("read_only: true") && COMPOSE.contains("cap_drop: [ALL]"));
}

#[test]
fn the_chart_sets_what_each_role_knows() {
    let template = include_str!("../../deploy/helm/authpost/templates/_helpers.tpl");
    let known: BTreeSet<_> = known_to("ingress").union(&known_to("worker")).cloned().collect();
    let unknown: Vec<_> = tidy::variables(template).difference(&known).cloned().collect();
    assert!(unknown.is_empty(), "the chart sets {unknown:?}");
    let version = include_str!("../../deploy/helm/authpost/Chart.yaml")
        .lines()
        .find_map(|line| line.strip_prefix("appVersion: "));
    assert_eq!(version, Some(format!("{:?}", env!("CARGO_PKG_VERSION")).as_str()));
}

#[test]
fn a_front_has_no_secret_of_the_back_and_the_other_way_round() {
    let (ingress, worker) = (service("ingress"), service("worker"));
    assert!(
        !ingress.contains("SMTP")
            && !ingress.contains("API_KEY")
            && !worker.contains("WEBHOOK_SECRET")
    );
    assert!(
        !UNITS[0].1.contains("SMTP")
            && !UNITS[0].1.contains("API_KEY")
            && !UNITS[1].1.contains("WEBHOOK_SECRET")
    );
}

#[test]
fn the_image_runs_one_binary_and_not_as_root() {
    let last = DOCKERFILE.rsplit("\nFROM ").next().expect("a stage");
    let unknown: Vec<_> = tidy::variables(last).difference(&known_to("serve")).cloned().collect();
    assert!(unknown.is_empty(), "the image sets {unknown:?}");
    assert!(
        last.contains("USER 65532:65532")
            && last.contains("HEALTHCHECK")
            && last.contains("\"healthcheck\"]")
    );
    assert!(!last.contains("RUN "), "the last image has no shell to run anything");
    // What unwinds panics is not in the last image's base: without it the binary does not start.
    assert!(
        last.contains("COPY --from=build /libraries /usr/local/lib")
            && DOCKERFILE.contains("-rpath,/usr/local/lib")
    );
    // Every crate's manifest is in the layer of the dependencies.
    for member in [
        "shared/domain",
        "shared/runtime",
        "shared/engine",
        "shared/workos",
        "ingress",
        "worker",
        "sandbox",
    ] {
        let home = member.split('/').next().expect("a directory");
        assert!(DOCKERFILE.contains(&format!("COPY {member}/Cargo.toml {member}/")), "{member}");
        assert!(DOCKERFILE.contains(&format!("COPY {home} {home}\n")), "{home}");
    }
    let toolchain = include_str!("../../rust-toolchain.toml");
    let version = DOCKERFILE
        .split("FROM rust:")
        .nth(1)
        .and_then(|rest| rest.split('-').next())
        .expect("a version");
    assert!(toolchain.contains(version), "the image is built by {version}, and {toolchain}");
}

/// What `systemd-analyze security` asks for and nothing here needs to do without.
const PROTECTIONS: [&str; 12] = [
    "CapabilityBoundingSet=",
    "LimitCORE=0",
    "NoNewPrivileges=yes",
    "PrivateUsers=yes",
    "ProcSubset=pid",
    "ProtectClock=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RestrictRealtime=yes",
    "UMask=0077",
];

#[test]
fn systemd_finds_little_exposure_in_the_units() {
    for unit in ["authpost", "authpost-ingress", "authpost-worker"] {
        let unit = format!("{}/deploy/systemd/{unit}.service", env!("CARGO_MANIFEST_DIR"));
        let analyze = Command::new("systemd-analyze")
            .args(["security", "--offline=true", "--no-pager", "--threshold=15", &unit])
            .output();
        // Not every machine has systemd, or one that can look at a file.
        let Ok(output) = analyze else { return };
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains("Overall exposure") {
            assert!(output.status.success(), "exposure over 1.5: {said}");
        }
    }
}

#[test]
fn compose_listens_on_this_machine_only_and_pins_its_images() {
    for line in COMPOSE.lines().filter(|line| line.trim_start().starts_with("ports:")) {
        assert!(line.contains("\"127.0.0.1:") || line.contains(":-127.0.0.1}:"), "{line}");
    }
    for line in COMPOSE.lines().filter_map(|line| line.trim_start().strip_prefix("image: ")) {
        let ours = line == "authpost";
        // The digests of these are not known here.
        let known = ["ghcr.io/workos/emulate:0.7.1", "rabbitmq:4.1.4"].contains(&line);
        assert!(ours || known || line.contains("@sha256:"), "{line} is not pinned");
    }
    for line in DOCKERFILE.lines().filter(|line| line.starts_with("FROM ")) {
        assert!(line.contains("@sha256:"), "{line} is not pinned");
    }
}

#[test]
fn units_set_what_each_role_knows_and_stop_after_the_grace() {
    for (role, unit) in UNITS {
        let set = unit
            .lines()
            .filter_map(|line| line.strip_prefix("Environment="))
            .collect::<Vec<_>>()
            .join(" ");
        let unknown: Vec<_> = tidy::variables(&set).difference(&known_to(role)).cloned().collect();
        assert!(unknown.is_empty(), "the unit of {role} sets {unknown:?}");
        assert!(unit.contains(&format!("ExecStart=authpost {role}\n")));
        for credential in
            set.split(' ').filter_map(|pair| pair.split_once("=%d/").map(|(_, name)| name))
        {
            assert!(
                unit.contains(&format!("LoadCredential={credential}:")),
                "{credential} is not loaded"
            );
        }
        // Grace is 25 s by default.
        assert!(unit.contains("TimeoutStopSec=35"));
        for line in PROTECTIONS {
            assert!(unit.lines().any(|set| set == line), "the unit of {role} lacks {line}");
        }
    }
    assert!(COMPOSE.contains("stop_grace_period: 35s"));
}
