//! What must hold when a test of an app ends.

use super::{app::App, eventually, load::Asked};

impl App {
    /// After faults: everybody has a mail; there are no more copies than were counted as possible;
    /// nothing waits, and nothing ended as anything but sent or, where a message was stored or
    /// handed out twice, as a duplicate.
    pub async fn finish_after_faults(mut self, asked: Asked) {
        eventually("everybody has a mail", async || {
            (asked.account(&self.inbox).without == 0).then_some(())
        })
        .await;
        let people = asked.made.len() as u64;
        // The gauges are seconds old, and an event that was stored without being accepted may still
        // be moving: inspect the queue itself, before and after reading the events in flight.
        let idle = async || {
            self.nothing_waits().await
                && self.exposition().count("authpost_in_flight") == 0
                && self.nothing_waits().await
        };
        eventually("nothing waits", async || idle().await.then_some(())).await;
        self.stop().await;
        let exposition = self.exposition();
        let account = asked.account(&self.inbox);
        assert!(
            account.extra <= exposition.doubts(),
            "{} extra mails, and only {} doubts",
            account.extra,
            exposition.doubts()
        );
        assert_eq!((exposition.outcomes("dead"), exposition.outcomes("expired")), (0, 0));
        let (sent, duplicates) = (exposition.outcomes("sent"), exposition.outcomes("duplicate"));
        // A message whose ending could not be settled was sent by one handling and ended as a
        // duplicate by the next.
        let unsettled = exposition.count("authpost_settle_failures_total");
        assert!(
            sent <= people + account.extra && sent + unsettled >= people,
            "{sent} sent for {people} people"
        );
        let again = asked.in_doubt + unsettled + self.redelivered;
        assert!(
            duplicates <= again,
            "{duplicates} duplicates, and only {again} messages that can have come twice"
        );
    }

    /// Everything accepted has ended; nothing waits; the process ends cleanly; every ordered
    /// misbehavior was committed.
    pub async fn finish(self) {
        let accepted = self.exposition().webhooks("accepted");
        self.finish_with(accepted).await;
    }

    /// The same, where messages came by other ways than the ingress.
    pub async fn finish_with(mut self, messages: u64) {
        self.finished = true;
        eventually("every event has ended", async || {
            (self.exposition().ended() >= messages).then_some(())
        })
        .await;
        let exposition = self.exposition();
        assert_eq!(
            exposition.ended(),
            messages,
            "sent + duplicate + expired + dead is not what came in"
        );
        assert_eq!(exposition.count("authpost_in_flight"), 0);
        assert_eq!(
            self.inbox.open_orders(),
            0,
            "the inbox was never asked to misbehave as ordered"
        );
        eventually("nothing waits", async || {
            let exposition = self.exposition();
            let waits =
                |part: &str| exposition.count(&format!("authpost_queue_depth{{queue=\"{part}\"}}"));
            (waits("work") + waits("retry") == 0 && waits("dead") == exposition.outcomes("dead"))
                .then_some(())
        })
        .await;
        self.stop().await;
    }
}
