//! Posting webhooks as fast as they are answered, or at a pace.

use std::{collections::HashMap, net::SocketAddr, time::Duration};

use domain::{clock::Clock as _, webhook::sign};
use jiff::Timestamp;
use runtime::clock::SystemClock;
use sandbox::{inbox::Received, workos::MagicAuth};
use secrecy::SecretString;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use crate::{World, harness};

/// Events handled in each second of `took`.
pub fn rate(count: usize, took: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let count = count as f64;
    count / took.as_secs_f64()
}

/// Of a whole, for each.
pub fn share(whole: u64, count: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a figure to read")]
    let (whole, count) = (whole as f64, count as f64);
    whole / count
}

pub fn request(made: &MagicAuth) -> Vec<u8> {
    let body = made.event();
    let signature = sign(
        &SecretString::from(harness::app::SECRET.to_owned()),
        SystemClock.now(),
        body.as_bytes(),
    )
    .expect("a secret");
    format!(
        "POST /v1/workos_webhook/ HTTP/1.1\r\nHost: bench\r\n\
         WorkOS-Signature: {signature}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

/// One exchange on a keep-alive connection, which must be answered 200.
async fn exchange(stream: &mut TcpStream, request: &[u8]) {
    assert_eq!(try_exchange(stream, request).await, Some(200));
}

/// The status of the answer, which is read to its end; `None` if there is none.
pub async fn try_exchange(stream: &mut TcpStream, request: &[u8]) -> Option<u16> {
    stream.write_all(request).await.ok()?;
    let (mut answer, mut read) = ([0; 2048], 0);
    loop {
        match stream.read(answer.get_mut(read..)?).await.ok()? {
            0 => return None,
            more => read += more,
        }
        let text = std::str::from_utf8(&answer[..read]).ok()?;
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= content_length(head)
        {
            return head.split(' ').nth(1)?.parse().ok();
        }
    }
}

fn content_length(head: &str) -> usize {
    let field = |line: &str| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().ok()).flatten()
    };
    head.lines().find_map(field).unwrap_or(0)
}

/// Posts every event once over so many connections; events a second, all answered 200.
pub async fn post_all(public: SocketAddr, codes: &[MagicAuth], connections: usize) -> f64 {
    // Signing is WorkOS's work: done before the clock starts.
    let requests: Vec<Vec<u8>> = codes.iter().map(request).collect();
    let mut shares: Vec<Vec<Vec<u8>>> = vec![Vec::new(); connections];
    for (index, request) in requests.into_iter().enumerate() {
        shares[index % connections].push(request);
    }
    let mut streams = Vec::new();
    for share in shares {
        let stream = TcpStream::connect(public).await.expect("connects");
        stream.set_nodelay(true).expect("set");
        streams.push((stream, share));
    }
    let begun = Instant::now();
    let posting = streams.into_iter().map(|(mut stream, share)| {
        tokio::spawn(async move {
            for request in share {
                exchange(&mut stream, &request).await;
            }
        })
    });
    for task in posting.collect::<Vec<_>>() {
        task.await.expect("no panic");
    }
    rate(codes.len(), begun.elapsed())
}

/// What was posted at an even pace.
pub struct Paced {
    /// Who was asked for, and when the request went out.
    pub sent: Vec<(String, Timestamp)>,
    /// From the connection to the answer, in milliseconds, the shortest first.
    pub acks: Vec<f64>,
}

/// Posts at an even pace, each over a connection of its own; every answer is 200.
pub async fn post_paced(world: &World, public: SocketAddr, pace: u32, seconds: u32) -> Paced {
    let mut due = tokio::time::interval(Duration::from_secs(1) / pace);
    let mut posting = tokio::task::JoinSet::new();
    let mut sent = Vec::new();
    for _ in 0..pace * seconds {
        due.tick().await;
        let email = format!("{}@example.com", runtime::random::ulid(SystemClock.now()));
        let made = world.workos.make_code(&email);
        sent.push((email, SystemClock.now()));
        posting.spawn(async move {
            let begun = Instant::now();
            let mut stream = TcpStream::connect(public).await.expect("connects");
            stream.set_nodelay(true).expect("set");
            exchange(&mut stream, &request(&made)).await;
            begun.elapsed().as_secs_f64() * 1000.0
        });
    }
    let mut acks = posting.join_all().await;
    acks.sort_by(f64::total_cmp);
    Paced { sent, acks }
}

/// From the webhook's first byte to the relay's 250, in milliseconds: median and 99th percentile.
pub fn latencies(mails: &[Received], sent: &[(String, Timestamp)]) -> (f64, f64) {
    let arrived: HashMap<&str, Timestamp> =
        mails.iter().map(|mail| (mail.to.as_str(), mail.at)).collect();
    let mut waits: Vec<f64> = sent
        .iter()
        .map(|(to, at)| arrived[to.as_str()].duration_since(*at).as_secs_f64() * 1000.0)
        .collect();
    waits.sort_by(f64::total_cmp);
    (waits[waits.len() / 2], waits[waits.len() * 99 / 100])
}
