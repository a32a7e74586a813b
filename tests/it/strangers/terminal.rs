//! What a relay says, or somebody who may write to the queue, is no command to an operator's
//! terminal.

use sandbox::inbox::{Misbehavior, Step};

use crate::{
    crash::World,
    harness::{
        eventually,
        program::{ENGINE, Program, beside, only},
    },
};

const TRICKS: &str = "\u{1b}[2J\u{1b}]0;title\u{7}\u{9b}31m\u{202e}\u{7f}\r\nforged line\u{200b}";

fn is_obeyed(c: char) -> bool {
    (c.is_control() && c != '\n')
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[track_caller]
fn assert_harmless(text: &str) {
    assert!(!text.contains(is_obeyed), "{text:?}");
    assert!(!text.lines().any(|line| line.starts_with("forged")), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_shown_and_not_obeyed() {
    let world = World::new().await;
    let program = Program::start("serve", &world.env(), &world.log()).await;
    let age = jiff::SignedDuration::from_mins(2);
    let made = world.workos.make_old_code("alice@example.com", age);
    world.workos.change_end(&made.id, None);
    assert!(world.post(&program, &made).await);
    eventually("a dead letter", async || {
        (program.exposition().await.outcomes("dead") == 1).then_some(())
    })
    .await;
    program.stop().await;
    let file = world.folder.path().join("data/authpost.db");
    let connection = rusqlite::Connection::open(file).expect("opens");
    connection.execute("UPDATE dead SET reason = ?1, detail = ?1", [TRICKS]).expect("written");
    drop(connection);
    let commands: [&[&str]; 6] = [
        &["dead", "list"],
        &["dead", "show"],
        &["dead", "show", "--json"],
        &["dead", "redrive", "--all", "--dry-run"],
        &["why", &made.event_id],
        &["why", "--json", &made.event_id],
    ];
    for command in commands {
        let said = beside(command, &only(&world.env(), &ENGINE)).await;
        assert!(said.code == 0 && said.out.contains(&made.event_id), "{command:?} {}", said.err);
        assert_harmless(&said.out);
        // A record has only the beginning of a reason.
        if command[..] == ["dead", "show", "--json"] {
            let json: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
            assert!(json.to_string().contains(&TRICKS[..4].replace('\u{1b}', "\\u001b")), "{json}");
        }
    }
}

/// A relay whose answers are as long and as strange as the protocol lets through.
async fn after_a_strange_relay(format: &str) -> String {
    let world = World::new().await;
    world.inbox.order(
        Step::Rcpt,
        Misbehavior::Say("550 5.1.1 \u{1b}[2J\u{1b}]0;title\u{7}\u{202e}no such user\u{9b}31m"),
    );
    world.inbox.order(Step::Dot, Misbehavior::Say("250 2.0.0 queued as \u{1b}[2J\u{202e}4Zx\u{7}"));
    let mut env = world.env();
    env.push(("AUTHPOST_LOG", format.to_owned()));
    let program = Program::start("serve", &env, &world.log()).await;
    world.ask(&program, "alice@example.com").await;
    world.ask(&program, "bob@example.com").await;
    let ended = async |outcome| {
        eventually(outcome, async || {
            (program.exposition().await.outcomes(outcome) == 1).then_some(())
        })
        .await;
    };
    ended("dead").await;
    ended("sent").await;
    program.stop().await;
    std::fs::read_to_string(world.log()).expect("a log")
}

#[tokio::test(flavor = "multi_thread")]
async fn log_lines_hold_no_commands() {
    for format in ["text", "json"] {
        let log = after_a_strange_relay(format).await;
        assert!(log.contains("mailed a code") && log.contains("dead-lettered"), "{log}");
        assert_harmless(&log);
    }
}
