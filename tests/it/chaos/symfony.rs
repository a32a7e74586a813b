//! The same faults of two relays, and what Symfony's mailer makes of them: what a team would pick.
//!
//! `./scripts/chaos --symfony --seed N --minutes M`, where PHP and its mailer are installed.

use std::{
    io::Write as _,
    process::{Child, Command, Stdio},
    time::Duration,
};

use domain::clock::Clock as _;
use fastrand::Rng;
use runtime::clock::SystemClock;
use tokio::time::{Instant, interval, timeout};

use super::{
    number,
    relay_fault::Relay,
    relays::{RATE, mails, one_fault},
};
use crate::harness::figure;

/// As many processes as mails that Authpost sends at once.
const PROCESSES: usize = 32;

fn process(relays: &[Relay; 2]) -> Child {
    let urls = relays.each_ref().map(|relay| format!("smtp://{}", relay.way.address()));
    Command::new("php")
        .args(["-d", "default_socket_timeout=6"])
        .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/symfony/send.php"))
        .args(urls)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("php-cli and php-symfony-mailer")
}

/// Waits until all have sent what they were given.
async fn what_they_said(processes: Vec<Child>) -> String {
    let ended = tokio::task::spawn_blocking(move || {
        let ended = processes.into_iter().map(|mut process| {
            drop(process.stdin.take());
            process.wait_with_output().expect("ends").stdout
        });
        ended.collect::<Vec<_>>().concat()
    });
    String::from_utf8(ended.await.expect("no panic")).expect("text")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "compares with another program: ./scripts/chaos --symfony"]
async fn symfony_on_the_same_faults() {
    let (seed, minutes) = (number("AUTHPOST_CHAOS_SEED", 1), number("AUTHPOST_CHAOS_MINUTES", 1));
    let relays = [Relay::start().await, Relay::start().await];
    let mut processes: Vec<Child> = (0..PROCESSES).map(|_| process(&relays)).collect();
    let (mut chance, begun) = (Rng::with_seed(seed), Instant::now());
    let mut people = Vec::new();
    let mut pace = interval(Duration::from_secs(1) / RATE);
    let suffering = async {
        let mut faults = 0_u32;
        while begun.elapsed() < Duration::from_secs(60 * minutes) {
            one_fault(&mut chance, &relays).await;
            faults += 1;
            // Authpost's next fault comes once both relays are used again. Here nothing says so.
            drop(timeout(Duration::from_secs(1), std::future::pending::<()>()).await);
        }
        faults
    };
    tokio::pin!(suffering);
    let faults = loop {
        tokio::select! {
            faults = &mut suffering => break faults,
            _ = pace.tick() => {
                let id = runtime::random::ulid(SystemClock.now()).to_string().to_lowercase();
                let to = format!("{id}@example.com");
                let process = &mut processes[people.len() % PROCESSES];
                writeln!(process.stdin.as_mut().expect("piped"), "{to} 123456").expect("written");
                people.push(to);
            }
        }
    };
    let said = what_they_said(processes).await;
    let (first, extra) = mails(&relays);
    let without = people.iter().filter(|to| !first.contains_key(*to)).count();
    let count = |word: &str| said.lines().filter(|line| line.starts_with(word)).count();
    figure(&format!(
        "Symfony, seed {seed}, {minutes} min, {faults} faults: {} people, {without} without a \
         mail, {extra} second mails; {} sent and {} failed by its own account",
        people.len(),
        count("sent "),
        count("failed ")
    ));
    assert!(!first.is_empty(), "{said}");
}
