//! Unit tests of the parent module.

use super::*;

#[tokio::test]
async fn a_task_that_ends_unasked_stops_the_others_and_fails() {
    let stop = CancellationToken::new();
    let mut tasks = Tasks::new(stop.clone());
    tasks.spawn("waits", stop.clone().cancelled_owned());
    tasks.spawn("ends", async {});
    assert_eq!(
        format!("{:?}", tasks.run_until_stopped(Duration::from_secs(5)).await),
        format!("{:?}", ExitCode::FAILURE)
    );
    assert!(stop.is_cancelled());
}

#[tokio::test]
async fn an_asked_for_end_is_a_success() {
    let stop = CancellationToken::new();
    let mut tasks = Tasks::new(stop.clone());
    tasks.spawn("waits", stop.clone().cancelled_owned());
    stop.cancel();
    assert_eq!(
        format!("{:?}", tasks.run_until_stopped(Duration::from_secs(5)).await),
        format!("{:?}", ExitCode::SUCCESS)
    );
}

#[tokio::test(start_paused = true)]
async fn a_task_that_will_not_end_is_cut_off() {
    let stop = CancellationToken::new();
    let mut tasks = Tasks::new(stop.clone());
    tasks.spawn("hangs", std::future::pending());
    stop.cancel();
    assert_eq!(
        format!("{:?}", tasks.run_until_stopped(Duration::from_secs(5)).await),
        format!("{:?}", ExitCode::FAILURE)
    );
}
