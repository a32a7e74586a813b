//! Unit tests of the parent module.

use super::*;

fn connection() -> (Connection, Arc<Occupancy>) {
    let house = Arc::new(Occupancy::new(100, Duration::from_secs(75)));
    (Connection::new(IpAddr::from([192, 0, 2, 1]), 0, Arc::clone(&house)), house)
}

async fn advance(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_head_has_seconds_and_a_quiet_connection_a_minute() {
    let (connection, house) = connection();
    let overdue = || connection.overdue(house.now_ms());
    advance(7).await;
    assert_eq!(overdue(), None);
    advance(1).await;
    assert_eq!(overdue(), Some(Closed::Slow), "the first head");
    connection.enter(Stage::Busy);
    advance(1000).await;
    assert_eq!(overdue(), None, "a request that we have not answered");
    connection.enter(Stage::Idle);
    advance(75).await;
    assert_eq!(overdue(), None);
    connection.received();
    assert_eq!(connection.stage().0, Stage::Head);
    connection.received();
    advance(7).await;
    assert_eq!(overdue(), None);
    connection.received();
    advance(1).await;
    assert_eq!(overdue(), Some(Closed::Slow), "every byte of a head counts from the first");
    connection.enter(Stage::Idle);
    advance(76).await;
    assert_eq!(overdue(), Some(Closed::Idle));
}

#[tokio::test(start_paused = true)]
async fn who_takes_nothing_of_an_answer_is_waited_for_as_long_as_for_a_head() {
    let (connection, house) = connection();
    connection.enter(Stage::Busy);
    assert_eq!(connection.waited(house.now_ms()), None);
    connection.write_blocked();
    advance(5).await;
    connection.write_blocked();
    assert_eq!(connection.waited(house.now_ms()), Some(5000), "since the first time");
    connection.written();
    connection.write_blocked();
    advance(7).await;
    assert_eq!(connection.overdue(house.now_ms()), None, "a part was taken in between");
    advance(1).await;
    assert_eq!(connection.overdue(house.now_ms()), Some(Closed::Unread));
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_an_end_however_busy_it_is() {
    let (busy, _) = connection();
    let last = (1..=MOST_REQUESTS).find(|_| busy.is_last_request());
    assert_eq!(last, Some(MOST_REQUESTS));
    let (old, _) = connection();
    assert!(!old.is_last_request());
    tokio::time::advance(MOST_AGE + Duration::from_secs(1)).await;
    assert!(old.is_last_request());
}

#[test]
fn a_connection_is_asked_to_close_one_time_and_for_one_reason() {
    for why in [Closed::Finished, Closed::Idle, Closed::Slow, Closed::Unread, Closed::Crowded] {
        let (connection, _) = connection();
        assert!(!connection.was_asked_to_close());
        assert!(connection.ask_to_close(why) && !connection.ask_to_close(Closed::Idle));
        assert_eq!(connection.why_closed(), why);
    }
}
