//! What it costs a person that their language is read from WorkOS beside the code.

use std::io::Write as _;

use crate::{PACE, Program, Signal, World, harness, load};

/// Runs of each kind, in turn.
const ROUNDS: u32 = 5;

/// Prints how long people wait for their mails, without reading languages and with it.
pub async fn measure() {
    say("from the webhook to the relay's 250, in ms: median, 99th percentile");
    for round in 1..=ROUNDS {
        for language in ["off", "on"] {
            let (median, most) = latency(language).await;
            say(&format!("round {round}, AUTHPOST_USER_LOCALE={language}: {median:.1}, {most:.1}"));
        }
    }
}

/// One line on standard output, at once.
fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("somebody reads");
}

async fn latency(language: &str) -> (f64, f64) {
    let world = World::new(false).await;
    let mut env = world.env();
    env.push(("AUTHPOST_USER_LOCALE", language.to_owned()));
    let program = Program::start("serve", &env, &world.log()).await;
    let public = program.public.expect("an ingress");
    // The first second warms connections up and is not counted.
    let warm_up = load::post_paced(&world, public, PACE.0, 1).await.sent;
    let sent = load::post_paced(&world, public, PACE.0, PACE.1).await.sent;
    let all = u64::try_from(warm_up.len() + sent.len()).expect("small");
    harness::in_time("all mails", world.inbox.reached(all)).await;
    program.signal(Signal::SIGTERM);
    program.ended().await;
    load::latencies(&world.inbox.mails(), &sent)
}
