//! The stand-in for WorkOS answers as WorkOS does: WorkOS's own libraries read every answer of it.
//!
//! They are installed from npm and PyPI. Where that cannot be done, nothing is checked, and the test
//! says so.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use domain::{clock::Clock as _, webhook::sign};
use runtime::clock::SystemClock;
use secrecy::SecretString;
use serde_json::{Value, json};
use url::Url;

use crate::{
    crash::World,
    harness::{
        app::{API_KEY, SECRET},
        installed::{folder, from_pypi, installed},
        settings::CLIENT_ID,
    },
};

const NODE: &str = "@workos-inc/node@8.13.0";
const PYTHON: &str = "workos==10.8.0";

/// What a library needs to ask for everything.
fn given(world: &World) -> Value {
    world.workos.for_client(CLIENT_ID);
    for (organization, status) in [("org_1", "active"), ("org_2", "active"), ("org_3", "inactive")]
    {
        world.workos.set_membership("alice@example.com", organization, status);
    }
    let made = world.workos.make_code("alice@example.com");
    let verifier = "v".repeat(43);
    let challenge = domain::sign_in::state::challenge(&verifier);
    let query = format!(
        "redirect_uri=https://app.example.com/cb&organization_id=org_1&code_challenge={challenge}"
    );
    let authorize: Url =
        format!("{}/user_management/authorize?{query}", world.workos.url()).parse().expect("a URL");
    let back = world.workos.approve(&authorize, "alice@example.com").expect("somewhere to go");
    let code = back.query_pairs().find(|(name, _)| name == "code").expect("a code").1.into_owned();
    let webhook = made.event();
    let signature = sign(&SecretString::from(SECRET), SystemClock.now(), webhook.as_bytes());
    json!({
        "url": world.workos.url(), "key": API_KEY, "client_id": CLIENT_ID, "secret": SECRET,
        "magic_auth_id": made.id, "code": made.code, "authorization_code": code,
        "code_verifier": verifier, "webhook": webhook, "signature": signature.expect("a signature"),
    })
}

async fn reads_everything(mut command: Command, given: Value) {
    let ran = tokio::task::spawn_blocking(move || {
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.spawn().expect("starts");
        let mut input = child.stdin.take().expect("piped");
        input.write_all(given.to_string().as_bytes()).expect("read");
        drop(input);
        child.wait_with_output().expect("ends")
    });
    let output = ran.await.expect("no panic");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success() && text(&output.stdout).contains("read everything"),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_node_reads_every_answer() {
    let folder = folder("node");
    let script = folder.join("check.mjs");
    std::fs::write(&script, include_str!("../sdks/check.mjs")).expect("written");
    let mut install = Command::new("npm");
    install.args(["install", "--no-audit", "--no-fund", "--ignore-scripts", NODE]);
    install.args(["--fetch-retries=0", "--fetch-timeout=20000"]);
    if !installed(&folder, install.current_dir(&folder)) {
        return;
    }
    let world = World::new().await;
    let mut command = Command::new("node");
    command.arg(script);
    reads_everything(command, given(&world)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_library_for_python_reads_every_answer() {
    let Some(folder) = from_pypi("python", PYTHON) else { return };
    let world = World::new().await;
    let mut command = Command::new("python3");
    command.args(["-c", include_str!("../sdks/check.py")]).env("PYTHONPATH", folder);
    reads_everything(command, given(&world)).await;
}
