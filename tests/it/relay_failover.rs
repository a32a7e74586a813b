//! Two relays: codes arrive while one of them works, and nobody gets two.

use std::sync::Arc;

use runtime::clock::SystemClock;
use sandbox::{
    inbox::{Inbox, InboxConfig, Misbehavior, Step},
    proxy::{FaultProxy, Network},
    readable,
};

use crate::{
    crash::World,
    harness::{
        app::free_port,
        eventually, in_time,
        program::{Program, beside, lasting_listener},
    },
};

/// A service with two relays; the way to the first can be broken.
struct Two {
    world: World,
    way: FaultProxy,
    second: Inbox,
    env: Vec<(&'static str, String)>,
    program: Program,
}

async fn two() -> Two {
    let world = World::new().await;
    let second = Inbox::start(free_port().await, InboxConfig::default(), Arc::new(SystemClock))
        .expect("starts");
    let way = FaultProxy::start(lasting_listener().await, world.inbox.address()).expect("starts");
    let mut env = world.env();
    env.retain(|(name, _)| *name != "SMTP_URL");
    let urls =
        format!("smtp://{}?tls=none\n  smtp://{}?tls=none\n", way.address(), second.address());
    env.push(("SMTP_URL", urls));
    let program = Program::start("serve", &env, &world.log()).await;
    Two { world, way, second, env, program }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_relay_takes_what_the_first_cannot() {
    let Two { world, way, second, env, program } = two().await;
    let mails = |first: u64, second_one: u64| {
        let (one, other) = (world.inbox.reached(first), second.reached(second_one));
        async move {
            in_time("the first relay", one).await;
            in_time("the second relay", other).await;
        }
    };
    world.ask(&program, "alice@example.com").await;
    mails(1, 0).await;
    // Before that its answer may be on the way.
    eventually("it is known to be sent", async || {
        (program.exposition().await.outcomes("sent") == 1).then_some(())
    })
    .await;
    for (network, expected) in [(Network::Refused, 1), (Network::BlackHole, 2)] {
        way.set(network);
        world.ask(&program, "bob@example.com").await;
        mails(1, expected).await;
    }
    way.set(Network::Fine);
    let said = beside(&["doctor"], &env).await;
    for address in [way.address(), second.address()] {
        assert!(said.out.contains(&format!("connected to {address}")), "{}", said.out);
    }
    program.stop().await;
}

/// Also of the whole mail.
#[tokio::test(flavor = "multi_thread")]
async fn an_answered_refusal_lets_a_mail_move_on() {
    let Two { world, way, second, env: _, program } = two().await;
    for (step, answer) in
        [(Step::Rcpt, "554 5.7.1 Relay access denied"), (Step::Dot, "451 4.3.0 try again")]
    {
        // Until the first relay has rested.
        let mut asked = (world.inbox.count(), second.count());
        while world.inbox.count() == asked.0 {
            asked = (world.inbox.count(), second.count());
            world.ask(&program, &format!("carol{}@example.com", asked.0 + asked.1)).await;
            one_more(&world.inbox, &second, asked).await;
        }
        world.inbox.order(step, Misbehavior::Say(answer));
        let asked = (world.inbox.count(), second.count());
        world.ask(&program, &format!("dave{}@example.com", asked.0)).await;
        in_time("the second relay", second.reached(asked.1 + 1)).await;
        assert_eq!((world.inbox.count(), world.inbox.open_orders()), (asked.0, 0), "{answer}");
    }
    assert_eq!(program.exposition().await.outcomes("dead"), 0);
    let all: Vec<String> = [world.inbox.mails(), second.mails()]
        .concat()
        .iter()
        .map(|mail| readable::read(&mail.raw).expect("a mail").message_id)
        .collect();
    let different: std::collections::BTreeSet<&String> = all.iter().collect();
    assert_eq!(all.len(), different.len(), "nobody has two: {all:?}");
    program.stop().await;
    drop(way);
}

/// Waits until either relay has one mail more.
async fn one_more(first: &Inbox, second: &Inbox, before: (u64, u64)) {
    in_time("a mail", async {
        tokio::select! {
            () = first.reached(before.0 + 1) => {}
            () = second.reached(before.1 + 1) => {}
        }
    })
    .await;
}
