//! An SMTP server that keeps the mails it receives, and can be told to misbehave at any step.

mod session;

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::clock::Clock;
use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::{
    net::TcpListener,
    sync::{mpsc, oneshot, watch},
    task::{AbortHandle, JoinSet},
};
use tokio_rustls::TlsAcceptor;

use self::session::Path;
pub use self::session::base64;

/// Most mails kept; older ones are let go and stay counted.
const KEPT: usize = 100_000;

/// Where in the conversation the inbox can be told to misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Right after the connection is accepted.
    Greeting,
    Ehlo,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    Dot,
}

/// A fault to commit instead of the normal reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misbehavior {
    /// Replies with this line (without CRLF) and goes on. After the dot, a mail answered with
    /// anything but 2xx is not kept.
    Say(&'static str),
    /// The same with bytes in any encoding, and a line break of its own.
    SayBytes(&'static [u8]),
    /// Replies with this line so much later.
    SayLate(Duration, &'static str),
    /// Says nothing more until the other side gives up.
    Stall,
    /// Closes the connection without a reply.
    HangUp,
    /// Keeps the mail and hangs up without saying so. Only after the dot.
    KeepAndHangUp,
    /// Keeps the mail and says nothing more. Only after the dot.
    KeepAndStall,
}

/// How the inbox behaves unless a fault is ordered.
#[derive(Clone, Default)]
pub struct InboxConfig {
    /// Whether PIPELINING is left out of the EHLO reply.
    pub without_pipelining: bool,
    /// User name and password that AUTH PLAIN must bring.
    pub login: Option<(String, String)>,
    /// User name and access token that AUTH XOAUTH2 must bring.
    pub token: Option<(String, String)>,
    /// TLS from the first byte.
    pub implicit_tls: Option<TlsAcceptor>,
    /// Offers STARTTLS, and continues in TLS with this acceptor.
    pub starttls: Option<TlsAcceptor>,
    /// Further extensions that the EHLO reply offers, such as `DSN`.
    pub offers: Vec<&'static str>,
    /// Most connections at once; further ones are greeted with 421.
    pub most_connections: Option<usize>,
    /// Most mails on one connection; then MAIL is answered with 421.
    pub most_mails: Option<u32>,
    /// Counts mails without keeping them: a sink for measuring.
    pub only_counts: bool,
}

/// One mail as it came.
#[derive(Debug, Clone)]
pub struct Received {
    pub from: String,
    pub to: String,
    /// What followed the addresses in MAIL and in RCPT.
    pub parameters: [String; 2],
    /// The mail as transferred, with dot-stuffing undone.
    pub raw: Vec<u8>,
    /// When the final dot was answered.
    pub at: Timestamp,
}

/// The running server. Stops when dropped.
pub struct Inbox {
    address: SocketAddr,
    shared: Arc<Shared>,
    hang_up: mpsc::Sender<oneshot::Sender<()>>,
    server: AbortHandle,
}

struct Shared {
    config: InboxConfig,
    clock: Arc<dyn Clock>,
    orders: Mutex<VecDeque<(Step, Misbehavior)>>,
    mails: Mutex<VecDeque<Received>>,
    count: watch::Sender<u64>,
    connections: AtomicU64,
    /// Each open connection has a clone.
    open: Arc<()>,
    turned_away: AtomicU64,
}

impl Drop for Inbox {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Inbox {
    /// Serves SMTP on `listener` until dropped.
    pub fn start(
        listener: TcpListener,
        config: InboxConfig,
        clock: Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            config,
            clock,
            orders: Mutex::default(),
            mails: Mutex::default(),
            count: watch::Sender::new(0),
            connections: AtomicU64::new(0),
            open: Arc::new(()),
            turned_away: AtomicU64::new(0),
        });
        let (hang_up, hang_ups) = mpsc::channel(1);
        let server = tokio::spawn(accept(listener, Arc::clone(&shared), hang_ups)).abort_handle();
        Ok(Self { address, shared, hang_up, server })
    }

    /// The address that the inbox listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Orders one fault: the first conversation that reaches `step` commits it. Orders for one step
    /// are carried out in order.
    pub fn order(&self, step: Step, fault: Misbehavior) {
        self.shared.orders.lock().push_back((step, fault));
    }

    /// Takes back the orders that were not carried out yet.
    pub fn obey_no_more(&self) {
        self.shared.orders.lock().clear();
    }

    /// Orders not carried out yet.
    pub fn open_orders(&self) -> usize {
        self.shared.orders.lock().len()
    }

    /// The mails kept, oldest first.
    pub fn mails(&self) -> Vec<Received> {
        self.shared.mails.lock().iter().cloned().collect()
    }

    /// How many mails were accepted.
    pub fn count(&self) -> u64 {
        *self.shared.count.borrow()
    }

    /// How many connections were made.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }

    /// How many connections were more than the inbox takes.
    pub fn turned_away(&self) -> u64 {
        self.shared.turned_away.load(Ordering::Relaxed)
    }

    /// Closes every open connection, as relays do with idle ones. Returns when all are closed.
    pub async fn hang_up(&self) {
        let (done, closed) = oneshot::channel();
        // Both fail only when the server has stopped, and with it every connection.
        drop(self.hang_up.send(done).await);
        drop(closed.await);
    }

    /// Returns once `count` mails were accepted.
    pub async fn reached(&self, count: u64) {
        let mut counter = self.shared.count.subscribe();
        // Fails only when the sender is gone, and we hold it.
        drop(counter.wait_for(|now| *now >= count).await);
    }
}

impl Shared {
    fn fault(&self, step: Step) -> Option<Misbehavior> {
        let mut orders = self.orders.lock();
        let index = orders.iter().position(|(ordered, _)| *ordered == step)?;
        orders.remove(index).map(|(_, fault)| fault)
    }

    fn keep(&self, [from, to]: [&Path; 2], raw: Vec<u8>) {
        if !self.config.only_counts {
            let mut mails = self.mails.lock();
            mails.push_back(Received {
                from: from.address.clone(),
                to: to.address.clone(),
                parameters: [from.parameters.clone(), to.parameters.clone()],
                raw,
                at: self.clock.now(),
            });
            if mails.len() > KEPT {
                mails.pop_front();
            }
        }
        self.count.send_modify(|count| *count += 1);
    }
}

async fn accept(
    listener: TcpListener,
    shared: Arc<Shared>,
    mut hang_ups: mpsc::Receiver<oneshot::Sender<()>>,
) {
    let mut sessions = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(done) = hang_ups.recv() => {
                sessions.shutdown().await;
                drop(done);
                continue;
            }
        };
        let Ok((stream, _)) = accepted else { continue };
        while sessions.try_join_next().is_some() {}
        shared.connections.fetch_add(1, Ordering::Relaxed);
        if stream.set_nodelay(true).is_ok() {
            let shared = Arc::clone(&shared);
            // A broken conversation is either what a test ordered, or the client's doing.
            sessions.spawn(async move { drop(session::converse(stream, &shared).await) });
        }
    }
}
