//! A real relay: what Postfix says, and what becomes of the codes.

use sandbox::readable;

use crate::{
    crash::World,
    harness::{
        certificates::Certificates,
        eventually, in_time,
        postfix::{LOGIN, Postfix},
        program::{Program, beside},
    },
};

const NEEDS_POSTFIX: &str = "smtpd_tls_security_level = encrypt\nsmtpd_tls_auth_only = yes\n";

/// Authpost, a Postfix that it submits mails to, and the server that Postfix hands them to.
struct Submission {
    world: World,
    postfix: Postfix,
    env: Vec<(&'static str, String)>,
    program: Program,
}

async fn submission(settings: &str, login: &str) -> Submission {
    let (world, certificates) = (World::new().await, Certificates::generate());
    let settings = format!("{NEEDS_POSTFIX}{settings}");
    let postfix = Postfix::start(world.inbox.address().port(), &certificates, &settings).await;
    let mut env = world.env();
    env.retain(|(name, _)| !["SMTP_URL", "AUTHPOST_SMTP_CONNECT_TIMEOUT"].contains(name));
    env.push(("SMTP_URL", format!("smtp://{login}localhost:{}", postfix.port)));
    let authority = world.folder.path().join("authority.pem");
    std::fs::write(&authority, &certificates.authority_pem).expect("written");
    env.push(("AUTHPOST_EXTRA_CA", authority.display().to_string()));
    let program = Program::start("serve", &env, &world.log()).await;
    Submission { world, postfix, env, program }
}

fn with_login() -> String {
    format!("{}:secret@", LOGIN.replace('@', "%40"))
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postfix: ./scripts/test"]
async fn submission_with_starttls_a_private_authority_and_a_login() {
    let Submission { world, postfix, env, program } = submission("", &with_login()).await;
    let made = world.ask(&program, "alice..b@example.com").await;
    in_time("the mail", world.inbox.reached(1)).await;
    let mail = &world.inbox.mails()[0];
    assert_eq!(mail.to, "\"alice..b\"@example.com");
    let read = readable::read(&mail.raw).expect("a mail");
    assert_eq!(read.code(), Some(made.code.as_str()));
    let said = eventually("it is on record", async || {
        let said = beside(&["why", &made.event_id], &env).await.out;
        said.contains("sent; accepted as").then_some(said)
    })
    .await;
    let id = said.split("accepted as ").nth(1).and_then(|rest| rest.split(' ').next());
    let id = id.expect("a queue id");
    assert!(postfix.log().contains(&format!("{id}: from=<login@acme.example>")), "{id}: {said}");
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postfix: ./scripts/test"]
async fn a_burst_against_its_limits_of_connections_and_of_mails() {
    for limit in [
        "smtpd_client_connection_count_limit = 3",
        "smtpd_client_message_rate_limit = 15\nanvil_rate_time_unit = 4s",
    ] {
        let Submission { world, postfix: _postfix, env: _, program } =
            submission(limit, &with_login()).await;
        for number in 0..40 {
            world.ask(&program, &format!("p{number}@example.com")).await;
        }
        in_time("all mails", world.inbox.reached(40)).await;
        let exposition = program.exposition().await;
        assert_eq!((exposition.outcomes("dead"), world.inbox.count()), (0, 40), "{limit}");
        program.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postfix: ./scripts/test"]
async fn relaying_denied_holds_the_codes_and_is_told() {
    let Submission { world, postfix: _postfix, env: _, program } = submission("", "").await;
    for number in 0..4 {
        world.ask(&program, &format!("p{number}@example.com")).await;
    }
    eventually("it is told", async || {
        (program.exposition().await.count("authpost_paused") == 1).then_some(())
    })
    .await;
    assert_eq!(program.exposition().await.outcomes("dead"), 0);
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Postfix: ./scripts/test"]
async fn a_mail_that_it_refuses_does_not_cost_the_next_one() {
    let refuses = "header_checks = regexp:{{/^To: refused/ REJECT not this one}}\n";
    let Submission { world, postfix, env: _, program } = submission(refuses, &with_login()).await;
    for number in 0..3 {
        world.ask(&program, &format!("refused{number}@example.com")).await;
        world.ask(&program, &format!("p{number}@example.com")).await;
        in_time("the mail of the next one", world.inbox.reached(number + 1)).await;
    }
    eventually("the refused ones are told", async || {
        (program.exposition().await.outcomes("dead") == 3
            || program.exposition().await.outcomes("retry") >= 3)
            .then_some(())
    })
    .await;
    assert!(!postfix.log().contains("503 5.5.1"), "{}", postfix.log());
    program.stop().await;
}
