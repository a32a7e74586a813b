//! The thread that owns the connection: runs the jobs that are waiting in one transaction, and
//! answers them when it is committed.
//!
//! Threads are woken once for a batch, not once for each job: jobs of tasks that are ready at the
//! same time are handed over together, and so are their answers.

use std::{io, mem, sync::Arc, thread};

use domain::fault::{Fault, Reason};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    task::yield_now,
};

use super::classify;

/// Most jobs in one transaction, which bounds how long the first one waits.
const BATCH: usize = 256;

/// Most jobs that wait for the writer. Beyond it, callers wait within their own deadlines.
const WAITING: usize = 1024;

/// Tells a caller the value of its job, or why its transaction failed.
pub(super) type Answer = Box<dyn FnOnce(Result<(), Fault>) + Send>;

/// Work within the transaction of a batch. Holds no [`super::Store`]: the thread that runs and drops
/// it cannot wait for its own end.
pub(super) type Job = Box<dyn FnOnce(&Connection) -> rusqlite::Result<Answer> + Send>;

/// A job, and how its caller hears that it was undone with its batch.
struct Waiting {
    job: Job,
    failed: oneshot::Sender<Fault>,
    _place: OwnedSemaphorePermit,
}

/// What a caller hears, said on the runtime.
type Said = Box<dyn FnOnce() + Send>;

/// The way to the thread, which ends with it.
pub(super) struct Writer {
    places: Arc<Semaphore>,
    /// Jobs that are handed over together.
    gathered: Mutex<Vec<Waiting>>,
    /// There until the thread is to end.
    jobs: Option<mpsc::UnboundedSender<Vec<Waiting>>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// Starts the thread. Must be called within a runtime, on which callers are answered.
    pub(super) fn start(connection: Connection) -> io::Result<Self> {
        let (jobs, waiting) = mpsc::unbounded_channel();
        let (answers, answered) = mpsc::unbounded_channel();
        let thread = thread::Builder::new()
            .name("authpost-sqlite".to_owned())
            .spawn(move || write_until_closed(&connection, waiting, &answers))?;
        tokio::spawn(answer_until_closed(answered));
        Ok(Self {
            places: Arc::new(Semaphore::new(WAITING)),
            gathered: Mutex::default(),
            jobs: Some(jobs),
            thread: Some(thread),
        })
    }

    /// Hands a job over. Resolves to why it failed, if it did.
    pub(super) async fn send(&self, job: Job) -> Option<oneshot::Receiver<Fault>> {
        let (failed, failure) = oneshot::channel();
        let place = Arc::clone(&self.places).acquire_owned().await.ok()?;
        self.gathered.lock().push(Waiting { job, failed, _place: place });
        let handing_over = HandOver(self);
        // Tasks that are ready, too, add their jobs before this one goes on.
        yield_now().await;
        drop(handing_over);
        Some(failure)
    }
}

/// Hands over what was gathered, also if its caller has given up.
struct HandOver<'a>(&'a Writer);

impl Drop for HandOver<'_> {
    fn drop(&mut self) {
        let gathered = mem::take(&mut *self.0.gathered.lock());
        if let Some(jobs) = self.0.jobs.as_ref().filter(|_| !gathered.is_empty()) {
            // Fails only if the thread has panicked: then its callers hear that it has stopped.
            drop(jobs.send(gathered));
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        // Whoever removes the directory next must not meet SQLite as it removes its own files.
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the embedded engine panicked");
        }
    }
}

async fn answer_until_closed(mut answered: mpsc::UnboundedReceiver<Vec<Said>>) {
    while let Some(batch) = answered.recv().await {
        batch.into_iter().for_each(|say| say());
    }
}

fn write_until_closed(
    connection: &Connection,
    mut waiting: mpsc::UnboundedReceiver<Vec<Waiting>>,
    answers: &mpsc::UnboundedSender<Vec<Said>>,
) {
    while let Some(mut jobs) = waiting.blocking_recv() {
        while jobs.len() < BATCH
            && let Ok(more) = waiting.try_recv()
        {
            jobs.extend(more);
        }
        while !jobs.is_empty() {
            let batch = jobs.drain(..jobs.len().min(BATCH)).collect();
            // Nobody to answer: the runtime has ended.
            drop(answers.send(commit(connection, batch)));
        }
    }
}

/// Commits all of a batch or nothing: a job that fails (in practice because the disk is full) fails
/// the others too, and every caller is told that its job was not stored.
fn commit(connection: &Connection, batch: Vec<Waiting>) -> Vec<Said> {
    let mut answers = Vec::with_capacity(batch.len());
    let mut unanswered = Vec::with_capacity(batch.len());
    let mut batch = batch.into_iter();
    let execute = |sql| connection.prepare_cached(sql)?.execute([]).map(drop);
    let result = execute("BEGIN IMMEDIATE").and_then(|()| {
        for Waiting { job, failed, .. } in batch.by_ref() {
            unanswered.push(failed);
            answers.push(job(connection)?);
        }
        execute("COMMIT")
    });
    let Err(error) = result else {
        return answers.into_iter().map(|answer| -> Said { Box::new(|| answer(Ok(()))) }).collect();
    };
    let fault = classify(&error);
    let jobs = unanswered.len() + batch.len();
    tracing::warn!(%fault, jobs, "the embedded engine cannot commit");
    // Fails only where SQLite has already rolled back by itself.
    drop(execute("ROLLBACK"));
    vec![Box::new(move || {
        answers.into_iter().for_each(|answer| answer(Err(fault.clone())));
        let rest = batch.map(|waiting| waiting.failed);
        unanswered.into_iter().chain(rest).for_each(|failed| drop(failed.send(fault.clone())));
    })]
}

/// The fault of a caller whose job nobody has run.
pub(super) fn stopped() -> Fault {
    Fault::transient(Reason::QueueUnavailable, "the embedded engine has stopped")
}
