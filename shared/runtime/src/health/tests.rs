//! Unit tests of the parent module.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_role_that_stops_turning_is_named() {
    let mut health = Health::default();
    let (ingress, worker) = (health.heartbeat("ingress"), health.heartbeat("worker"));
    tokio::time::advance(STUCK).await;
    ingress.beat();
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(health.stuck(), ["worker"]);
    worker.beat();
    assert!(health.stuck().is_empty());
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ready_is_named_and_a_hanging_check_counts() {
    let mut health = Health::default();
    health.check("queue", || async { Ok(()) });
    health.check("relay", || async { Err(Cow::Borrowed("refused")) });
    health.check("dedupe", std::future::pending);
    assert_eq!(
        health.not_ready().await,
        [("relay", Cow::Borrowed("refused")), ("dedupe", Cow::Borrowed("no answer in time"))]
    );
    health.stopping();
    assert_eq!(health.not_ready().await[0].0, "process");
}
