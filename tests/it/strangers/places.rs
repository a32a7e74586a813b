//! One address tries to hold every place. The others are served all the same.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::{
    crash::World,
    harness::{
        eventually, in_time,
        program::Program,
        raw_http,
        strangers::{Strangers, Way},
    },
};

const PLACES: usize = 64;

async fn others_are_served(way: Way) {
    let world = World::new().await;
    let mut env = world.env();
    env.push(("AUTHPOST_MAX_CONNECTIONS", PLACES.to_string()));
    let program = Program::start("serve", &env, &world.log()).await;
    let public = program.public.expect("an ingress");
    let strangers = Strangers::start(public, way, 2 * PLACES);
    eventually("the listener is crowded", async || {
        let taken = program.exposition().await.value("authpost_http_connections");
        (taken >= 0.7 * 64.0).then_some(())
    })
    .await;
    for n in 0..20 {
        let asked = Instant::now();
        let made = world.ask(&program, &format!("p{n}@example.com")).await;
        assert!(asked.elapsed() < Duration::from_secs(3), "{way:?}: {:?}", asked.elapsed());
        eventually("the mail is there", async || (world.copies(&made) == 1).then_some(())).await;
    }
    let counts = program.exposition().await;
    let given_up = counts.count("authpost_http_closed_total{reason=\"crowded\"}");
    assert!(given_up > 0, "{way:?}: nobody gave up a place");
    drop(strangers);
    program.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silent_connections() {
    others_are_served(Way::Silent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_never_read() {
    others_are_served(Way::Unread).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_request_now_and_then() {
    others_are_served(Way::Trickle).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_byte_by_byte() {
    others_are_served(Way::SlowBody).await;
}

/// The connections of a proxy in front stay open while nobody needs their places.
#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_connection_is_kept_until_its_time_is_over() {
    let world = World::new().await;
    let mut env = world.env();
    env.push(("AUTHPOST_KEEP_ALIVE", "2 s".to_owned()));
    let program = Program::start("serve", &env, &world.log()).await;
    let mut stream =
        TcpStream::connect(program.public.expect("an ingress")).await.expect("connects");
    let began = Instant::now();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: t\r\n\r\n").await.expect("written");
    let mut answer = Vec::new();
    in_time("the end of the connection", stream.read_to_end(&mut answer)).await.expect("readable");
    assert!(!String::from_utf8_lossy(&answer).to_lowercase().contains("connection: close"));
    assert!(began.elapsed() > Duration::from_secs(2), "{:?}", began.elapsed());
    eventually("it is counted", async || {
        let idle = "authpost_http_closed_total{reason=\"idle\"}";
        (program.exposition().await.count(idle) == 1).then_some(())
    })
    .await;
    program.stop().await;
}

/// Idle connections to the private listener, from the address that probes come from, too.
#[tokio::test(flavor = "multi_thread")]
async fn probes_of_the_private_listener_are_answered() {
    let world = World::new().await;
    let program = Program::start("serve", &world.env(), &world.log()).await;
    let mut idle = Vec::new();
    for n in 0..200 {
        idle.push(TcpStream::connect(program.admin).await.expect("connects"));
        if n % 20 == 0 {
            assert_eq!(raw_http::get(program.admin, "/livez").await.0, 200, "after {n}");
        }
    }
    assert_eq!(raw_http::get(program.admin, "/readyz").await.0, 200);
    drop(idle);
    program.stop().await;
}

/// A page can have its own name resolve to this machine (DNS rebinding).
#[tokio::test(flavor = "multi_thread")]
async fn the_private_listener_answers_to_private_names() {
    let world = World::new().await;
    let program = Program::start("serve", &world.env(), &world.log()).await;
    let status = async |host: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        raw_http::status(&raw_http::send(program.admin, request.as_bytes()).await)
    };
    assert_eq!(status("evil.example:9090").await, 421);
    assert_eq!(status("worker.authpost.svc:9090").await, 200);
    program.stop().await;
}
