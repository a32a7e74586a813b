//! A sweep takes small pieces, and everything in the end.

use super::*;

async fn with_claims(count: usize) -> (Arc<Store>, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path()).expect("opens");
    let filled = store.run(move |connection| {
        for n in 0..i64::try_from(count).expect("small") {
            let sql = "INSERT INTO claims (event_id, state, owner, fence, silences, died_sending, until_ms, \
                       gone_ms, receipt) VALUES (?1, 'done', '', 1, 0, 0, 0, ?2, '')";
            connection.prepare_cached(sql)?.execute(params![format!("event_{n}"), n])?;
        }
        Ok(())
    });
    filled.await.expect("filled");
    (store, folder)
}

async fn claims(store: &Store) -> usize {
    let count = store.run(|connection| {
        connection.query_row("SELECT count(*) FROM claims", [], |row| row.get::<_, i64>(0))
    });
    usize::try_from(count.await.expect("answers")).expect("small")
}

#[tokio::test]
async fn others_get_their_turn_between_two_pieces() {
    let (store, _folder) = with_claims(5 * PIECE + 7).await;
    let weak = Arc::downgrade(&store);
    let sweeping = sweep(&weak, EXPIRED[0], i64::MAX);
    tokio::pin!(sweeping);
    let mut left = Vec::new();
    loop {
        tokio::select! {
            biased;
            swept = &mut sweeping => {
                assert_eq!(swept, Ok(5 * PIECE + 7));
                break;
            }
            count = claims(&store) => left.push(count),
        }
    }
    let pieces = left.windows(2).all(|pair| pair[0] - pair[1] <= PIECE);
    assert!(pieces && left.len() >= 5, "{left:?}");
    assert_eq!(claims(&store).await, 0);
}

#[tokio::test]
async fn what_has_not_expired_stays() {
    let (store, _folder) = with_claims(1000).await;
    let swept = sweep(&Arc::downgrade(&store), EXPIRED[0], 300).await;
    assert_eq!((swept, claims(&store).await), (Ok(300), 700));
}

#[tokio::test]
async fn a_sweep_ends_with_its_store() {
    let (store, _folder) = with_claims(1).await;
    let weak = Arc::downgrade(&store);
    drop(store);
    assert_eq!(sweep(&weak, EXPIRED[0], i64::MAX).await, Ok(0));
}
