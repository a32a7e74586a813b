//! Calls to WorkOS that strangers try to cause.

use std::{
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sandbox::workos::{Call, Override};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet};

use super::Visitor;
use crate::{
    crash::World,
    harness::{
        app::{App, Setup},
        eventually,
        program::Program,
        settings::{CLIENT_ID, ORIGIN},
    },
};

const REFRESH: &str = "/v2/user/refresh/";

impl App {
    fn refreshes(&self, result: &str) -> u64 {
        self.exposition().count(&format!("authpost_signin_refreshes_total{{result=\"{result}\"}}"))
    }
}

/// A refresh with a token that WorkOS has never seen.
async fn made_up(visitor: &mut Visitor, token: &str) -> u16 {
    visitor.jar.insert("__Host-authpost_refresh".to_owned(), token.to_owned());
    visitor.send("POST", REFRESH, None).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn made_up_refresh_tokens_reach_workos_only_so_often() {
    let limit = NonZeroU32::new(5).expect("not zero");
    let app = Setup::embedded().sign_in(move |sign_in| sign_in.config.rate = limit).start().await;
    // Sessions that are renewed do not count: behind one address there may be many people.
    let mut alice = app.visitor();
    assert_eq!(alice.sign_in(&app, "alice@example.com").await.status, 200);
    for _ in 0..20 {
        assert_eq!(alice.send("POST", REFRESH, None).await.status, 200);
    }
    let honest = app.workos.calls(Call::Authenticate).len();
    for n in 0..100 {
        let status = made_up(&mut app.visitor(), &format!("made_up_{n}")).await;
        assert_eq!(status, if n < 5 { 401 } else { 429 }, "{n}");
    }
    assert_eq!(app.workos.calls(Call::Authenticate).len() - honest, 5);
    assert_eq!(
        (app.refreshes("ok"), app.refreshes("refused"), app.refreshes("limited")),
        (20, 5, 95)
    );
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_refused_is_not_sent_again() {
    let app = super::app().await;
    for _ in 0..10 {
        assert_eq!(made_up(&mut app.visitor(), "the_same").await, 401);
    }
    assert_eq!(app.workos.calls(Call::Authenticate).len(), 1);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_ends_with_its_client() {
    let app = super::app().await;
    app.workos.answer_call_instead(Call::Authenticate, [Override::Stall]);
    let mut stream = TcpStream::connect(app.public).await.expect("connects");
    let request = format!(
        "POST {REFRESH} HTTP/1.1\r\nHost: t\r\nOrigin: {ORIGIN}\r\n\
         Cookie: __Host-authpost_refresh=made_up\r\nContent-Length: 0\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.expect("written");
    eventually("WorkOS is asked", async || {
        (app.workos.calls(Call::Authenticate).len() == 1).then_some(())
    })
    .await;
    drop(stream);
    eventually("the call is given up", async || (app.refreshes("abandoned") == 1).then_some(()))
        .await;
    app.finish().await;
}

/// One key serves both: whatever strangers make the sign-in half do, the worker is never refused.
#[tokio::test(flavor = "multi_thread")]
async fn the_worker_keeps_its_share_of_the_quota() {
    let world = World::new().await;
    world.workos.for_client(CLIENT_ID);
    world.workos.enforce_quota(1000, Duration::from_secs(10));
    let mut env = world.env();
    env.retain(|(name, _)| *name != "AUTHPOST_WORKOS_RATE");
    env.extend([
        ("WORKOS_CLIENT_ID", CLIENT_ID.to_owned()),
        ("AUTHPOST_SIGNIN_ORIGINS", ORIGIN.to_owned()),
        ("AUTHPOST_TRUSTED_PROXIES", "127.0.0.0/8".to_owned()),
    ]);
    let program = Program::start("serve", &env, &world.log()).await;
    let (at, over) = (program.public.expect("an ingress"), Arc::new(AtomicBool::new(false)));
    let mut flood = JoinSet::new();
    for sender in 0..8_u32 {
        let over = Arc::clone(&over);
        flood.spawn(async move {
            let mut n = 0_u32;
            while !over.load(Ordering::Relaxed) {
                n += 1;
                let client = format!("10.{sender}.{}.{}", n / 250 % 250, n % 250);
                let mut visitor = Visitor::new(at).with("X-Forwarded-For", &client);
                made_up(&mut visitor, &format!("made_up_{sender}_{n}")).await;
            }
        });
    }
    // More than the quota of one window would allow if the flood had its way.
    let mut asked = Vec::new();
    for n in 0..650 {
        asked.push(world.ask(&program, &format!("p{n}@example.com")).await);
    }
    eventually("everybody has a mail", async || {
        (world.inbox.mails().len() >= asked.len()).then_some(())
    })
    .await;
    over.store(true, Ordering::Relaxed);
    flood.join_all().await;
    let counts = program.exposition().await;
    let refused = "authpost_workos_seconds_count{result=\"rate_limited\"}";
    assert_eq!(counts.count(refused), 0, "the worker was refused");
    assert!(world.workos.calls(Call::Authenticate).len() > 100, "there was no flood");
    program.stop().await;
}
