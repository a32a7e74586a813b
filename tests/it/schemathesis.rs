//! The OpenAPI document against the running service, by Schemathesis: requests of every shape that
//! the document allows and many that it does not, and every answer as the document says.

use std::process::Command;

use crate::harness::{app::Setup, installed::from_pypi};

const SCHEMATHESIS: &str = "schemathesis==4.32.5";

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_document_says() {
    let Some(folder) = from_pypi("schemathesis", SCHEMATHESIS) else { return };
    let app = Setup::embedded().sign_in(|sign_in| sign_in.page = true).start().await;
    let mut command = Command::new("python3");
    command
        .arg(folder.join("bin/schemathesis"))
        .args(["run", "--seed", "1", "--max-examples", "30", "--no-color"])
        .args(["--generation-database", "none"])
        // Whether a return_to is within the origins, or a state is ours, no schema can say.
        .args(["--exclude-checks", "positive_data_acceptance"])
        .arg(format!("http://{}/openapi.json", app.public))
        .current_dir(&folder)
        .env("PYTHONPATH", &folder);
    let ran = tokio::task::spawn_blocking(move || command.output().expect("runs"));
    let output = ran.await.expect("no panic");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("Test cases:"), "{said}");
    app.finish().await;
}
