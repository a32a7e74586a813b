//! `authpost doctor`, beside a running service and where something is wrong.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use sandbox::proxy::{FaultProxy, Network};

use crate::{
    crash::World,
    harness::{
        app::fresh_prefix,
        collector::Collector,
        program::{Program, Said, beside, lasting_listener},
        queues::delete_queues,
        services::Services,
        settings::{CLIENT_ID, ORIGIN},
    },
};

type Env = Vec<(&'static str, String)>;

/// What it says, and whether all is well.
async fn examine(env: &Env, args: &[&str]) -> (bool, String) {
    let Said { code, out, .. } = beside(&[&["doctor"], args].concat(), env).await;
    (code == 0, out)
}

/// The same with one option changed.
fn with(env: &Env, name: &'static str, value: &str) -> Env {
    env.iter()
        .filter(|(known, _)| *known != name)
        .cloned()
        .chain([(name, value.to_owned())])
        .collect()
}

async fn all_is_well(world: &World, env: &Env) -> Program {
    let (well, said) = examine(env, &[]).await;
    assert!(
        well && !said.contains("WRONG") && said.contains("note   service"),
        "before any service: {said}"
    );
    let program = Program::start("serve", env, &world.log()).await;
    let env = with(env, "AUTHPOST_ADMIN_LISTEN", &program.admin.to_string());
    let url = program.webhook_url();
    let (well, said) =
        examine(&env, &["--webhook-url", &url, "--mail-to", "ops@example.com"]).await;
    assert!(well && !said.contains("WRONG"), "{said}");
    for fact in [
        "the API key is accepted",
        "agrees with WorkOS's",
        "accepted the test mail",
        "a signed probe arrived",
        "none since the service started",
    ] {
        assert!(said.contains(fact), "no \"{fact}\" in {said}");
    }
    assert_eq!(world.inbox.count(), 1, "the one mail that was asked for");
    world.ask(&program, "alice@example.com").await;
    let (_, said) = examine(&env, &[]).await;
    assert!(said.contains("1 accepted since the service started"), "{said}");
    program
}

#[tokio::test(flavor = "multi_thread")]
async fn embedded() {
    let world = World::new().await;
    let env = world.env();
    all_is_well(&world, &env).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_is_asked_whether_it_takes_traces() {
    let (world, collector) = (World::new().await, Collector::start().await);
    let env: Env = world.env().into_iter().chain(collector.env()).collect();
    let (well, said) = examine(&env, &[]).await;
    assert!(well && said.contains("the collector accepts them"), "{said}");
    for (name, value, says) in [
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=hush",
            "the collector refuses us: check OTEL_EXPORTER_OTLP_HEADERS",
        ),
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            "http://127.0.0.1:1",
            "the collector does not answer: check OTEL_EXPORTER_OTLP_ENDPOINT",
        ),
    ] {
        let (well, said) = examine(&with(&env, name, value), &[]).await;
        assert!(!well && said.contains(says) && !said.contains("hush"), "{name}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs RabbitMQ and Redis: ./scripts/test"]
async fn distributed() {
    let (world, services, prefix) = (World::new().await, Services::shared(), fresh_prefix());
    let env = world.on_brokers(services, &prefix);
    all_is_well(&world, &env).await.stop().await;
    for (name, value, says) in [
        ("AMQP_URL", "amqp://guest:hush@127.0.0.1:1/%2f", "check AMQP_URL"),
        ("REDIS_URL", "redis://:hush@127.0.0.1:1/0", "check REDIS_URL"),
    ] {
        let (well, said) = examine(&with(&env, name, value), &[]).await;
        assert!(!well && said.contains(says) && !said.contains("hush"), "{said}");
    }
    one_role_alone(&world, &env).await;
    delete_queues(services.amqp_url(), &prefix).await;
}

/// Where the roles are scaled apart, each environment has its own role's secrets.
async fn one_role_alone(world: &World, env: &Env) {
    let without = |names: &[&str]| -> Env {
        env.iter().filter(|(name, _)| !names.contains(name)).cloned().collect()
    };
    let ingress = without(&["WORKOS_API_KEY", "SMTP_URL", "MAIL_FROM"]);
    let running = Program::start("ingress", &ingress, &world.log()).await;
    let ingress = with(&ingress, "AUTHPOST_ADMIN_LISTEN", &running.admin.to_string());
    let (well, said) = examine(&ingress, &["--webhook-url", &running.webhook_url()]).await;
    for fact in [
        "complete, of an ingress",
        "agrees with WorkOS's",
        "a signed probe arrived",
        "note   relay",
        "none since the service started",
    ] {
        assert!(well && said.contains(fact), "no \"{fact}\" in {said}");
    }
    running.stop().await;
    let worker = without(&["WORKOS_WEBHOOK_SECRET"]);
    let (well, said) = examine(&worker, &[]).await;
    for fact in ["complete, of a worker", "the API key is accepted", "relay          connected"] {
        assert!(well && said.contains(fact), "no \"{fact}\" in {said}");
    }
    let (well, said) = examine(&worker, &["--webhook-url", "http://127.0.0.1:1/"]).await;
    assert!(!well && said.contains("no secret here to sign a probe with"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_named_with_what_to_do() {
    let world = World::new().await;
    let env = world.env();
    let program = Program::start("serve", &env, &world.log()).await;
    let url = program.webhook_url();
    for (name, value, says) in [
        ("WORKOS_API_KEY", "sk_hush", "the API key is refused: copy WORKOS_API_KEY"),
        ("WORKOS_API_URL", "http://127.0.0.1:1", "check WORKOS_API_URL"),
        ("SMTP_URL", "smtp://127.0.0.1:1?tls=none", "check the host and the port in its URL"),
        ("WORKOS_WEBHOOK_SECRET", "whsec_hush", "WORKOS_WEBHOOK_SECRET differs"),
        ("MAIL_FROM", "nobody", "MAIL_FROM is not a sender"),
    ] {
        let (well, said) = examine(&with(&env, name, value), &["--webhook-url", &url]).await;
        assert!(!well && said.contains(says) && !said.contains("hush"), "{name}: {said}");
    }
    // The address leads elsewhere, or nowhere.
    let nowhere = url.replace("/v1/workos_webhook/", "/webhook");
    let (well, said) = examine(&env, &["--webhook-url", &nowhere]).await;
    assert!(!well && said.contains("there is no webhook at that URL"), "{said}");
    // Anybody can answer 200.
    let other = answers(r#"{"status":"ignored"}"#).await;
    let (well, said) = examine(&env, &["--webhook-url", &other]).await;
    assert!(!well && said.contains("not verified there"), "{said}");
    let way = FaultProxy::start(lasting_listener().await, program.public.expect("an ingress"))
        .expect("starts");
    way.set(Network::Refused);
    let url = format!("http://{}/v1/workos_webhook/", way.address());
    let (well, said) = examine(&env, &["--webhook-url", &url]).await;
    assert!(!well && said.contains("nothing answers at that URL"), "{said}");
    assert_eq!(world.inbox.count(), 0, "no mail was sent");
    program.stop().await;
}

/// The URL of a server that gives everybody the same answer.
async fn answers(body: &'static str) -> String {
    let listener = lasting_listener().await;
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream.read_buf(&mut Vec::with_capacity(4096)).await.expect("a request");
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n";
            let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.expect("written");
        }
    });
    format!("http://{address}/v1/workos_webhook/")
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_has_a_section() {
    let world = World::new().await;
    world.workos.for_client(CLIENT_ID);
    let page = answers("{}").await;
    let origin = page.trim_end_matches("/v1/workos_webhook/").to_owned();
    let env: Env = world
        .env()
        .into_iter()
        .chain([
            ("WORKOS_CLIENT_ID", CLIENT_ID.to_owned()),
            ("AUTHPOST_SIGNIN_ORIGINS", format!("{ORIGIN},https://*.preview.example.com,{origin}")),
            ("AUTHPOST_SIGNIN_REDIRECT_URL", format!("{origin}/callback")),
        ])
        .collect();
    let (well, said) = examine(&env, &[]).await;
    for fact in [
        "WorkOS has keys for the client ID: 1",
        "the client ID and the API key fit",
        &format!("issuers {}/user_management/{CLIENT_ID}", world.workos.url()),
        &format!("pages of {ORIGIN}, https://*.preview.example.com, {origin}"),
        &format!("{origin}/callback answers"),
        "no proxy is trusted: if there is one in front",
    ] {
        assert!(well && said.contains(fact), "no \"{fact}\" in {said}");
    }
    let (_, said) = examine(&with(&env, "AUTHPOST_TRUSTED_PROXIES", "10.0.0.0/8"), &[]).await;
    assert!(said.contains("trusts the proxies of 10.0.0.0/8"), "{said}");
    let (well, said) = examine(&with(&env, "WORKOS_CLIENT_ID", "client_other"), &[]).await;
    for fact in ["WorkOS does not know the client ID", "the client ID and the API key do not fit"] {
        assert!(!well && said.contains(fact), "no \"{fact}\" in {said}");
    }
    let gone = format!("{ORIGIN}/callback");
    let (well, said) = examine(&with(&env, "AUTHPOST_SIGNIN_REDIRECT_URL", &gone), &[]).await;
    assert!(well && said.contains("browsers must reach it"), "{said}");
}
