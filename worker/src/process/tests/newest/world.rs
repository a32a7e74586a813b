//! The relay and the codes of the simulation, and the worker between them.

use std::sync::{LazyLock, atomic::AtomicU64};

use engine::memory::MemoryClaims;

use super::*;

/// What the relay does with the next mails.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Up,
    Down,
    /// It takes the mail and does not answer.
    Silent,
}

/// The relay, and where codes come from.
pub(super) struct World {
    pub(super) chance: Chance,
    pub(super) mood: Mutex<Mood>,
    /// Ids of the codes that the relay accepted.
    pub(super) accepted: Mutex<Vec<String>>,
    pub(super) clock: Arc<TestClock>,
}

/// A small generator of pseudorandom numbers (SplitMix64): what it draws depends on the seed alone.
pub(super) struct Chance(AtomicU64);

impl Chance {
    pub(super) fn below(&self, end: u64) -> u64 {
        let mut z = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end
    }
}

impl World {
    /// A relay that works; all that is drawn depends on `seed`.
    pub(super) fn new(seed: u64) -> Arc<Self> {
        let clock = Arc::new(TestClock { now: Mutex::new(now()), synced: AtomicBool::new(true) });
        let chance = Chance(AtomicU64::new(seed));
        Arc::new(Self { chance, mood: Mutex::new(Mood::Up), accepted: Mutex::default(), clock })
    }

    /// Lets others go first, perhaps several times.
    async fn wait(&self) {
        for _ in 0..self.chance.below(3) {
            tokio::task::yield_now().await;
        }
    }
}

impl World {
    pub(super) fn worker(
        self: &Arc<Self>,
        templates: &Live<Templates>,
        metrics: &Arc<Metrics>,
    ) -> Worker {
        Worker {
            claims: Arc::new(MemoryClaims::new(self.clock.clone(), TERMS)),
            owners: Owners::new(1),
            codes: Arc::new(Port(Arc::clone(self))),
            languages: LanguageSources::default(),
            mailer: Live::new(Arc::new(Port(Arc::clone(self))) as Arc<dyn Mailer>),
            templates: templates.clone(),
            clock: self.clock.clone(),
            chance: Arc::new(|| 0.0),
            breaker: Arc::new(CircuitBreaker::new(Arc::clone(metrics), Arc::new(|| 0.0))),
            metrics: Arc::clone(metrics),
            config: WorkerConfig {
                concurrency: 3,
                on_ambiguity: OnAmbiguity::Resend,
                record_for: Duration::from_millis(200),
            },
            heartbeat: Health::default().heartbeat("worker"),
            stop: CancellationToken::new(),
        }
    }
}

/// The port to the world: all tasks share it.
struct Port(Arc<World>);

#[async_trait]
impl CodeSource for Port {
    async fn login_code(&self, id: &MagicAuthId) -> Result<LoginCode, Fault> {
        self.0.wait().await;
        let number: i64 =
            id.as_str().rsplit('_').next().and_then(|n| n.parse().ok()).expect("ours");
        let code = format!("{number:06}");
        Ok(LoginCode {
            code: Code::parse(code).expect("digits"),
            recipient: EmailAddress::parse("alice@example.com").expect("valid"),
            expires_at: now() + SignedDuration::from_secs(number + 600),
        })
    }
}

#[async_trait]
impl Mailer for Port {
    async fn connect(&self, _: &Mail) -> Result<Box<dyn RelayConnection>, Fault> {
        self.0.wait().await;
        if *self.0.mood.lock() == Mood::Down {
            return Err(Fault::transient(Reason::RelayUnavailable, "down"));
        }
        Ok(Box::new(Self(Arc::clone(&self.0))))
    }
    async fn ready(&self) -> Result<(), Cow<'static, str>> {
        Ok(())
    }
}

#[async_trait]
impl RelayConnection for Port {
    async fn begin(self: Box<Self>, _: &Mail) -> Result<Box<dyn BegunMail>, SendError> {
        self.0.wait().await;
        Ok(self)
    }
}

#[async_trait]
impl BegunMail for Port {
    async fn finish(self: Box<Self>, mail: &Mail) -> Result<Accepted, SendError> {
        self.0.wait().await;
        let text = String::from_utf8_lossy(mail.expose()).into_owned();
        let (_, code) = text.split_once("code=").expect("the template");
        let answer = match *self.0.mood.lock() {
            Mood::Up => {
                self.0.accepted.lock().push(code[..6].to_owned());
                Ok(accepted())
            }
            Mood::Down => {
                Err(SendError::NotSent(Fault::transient(Reason::RelayUnavailable, "down")))
            }
            Mood::Silent => Err(SendError::Ambiguous("silent".into())),
        };
        self.0.wait().await;
        answer
    }
}

/// Templates that cost next to nothing: the mail itself is not what is tried.
static TEMPLATES: LazyLock<Arc<tempfile::TempDir>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["login_code.txt", "login_code.html", "login_code.subject.txt"] {
        std::fs::write(folder.path().join(name), "code={{ code }}").expect("written");
    }
    Arc::new(folder)
});

pub(super) fn templates() -> Live<Templates> {
    let sender =
        Sender { name: None, address: EmailAddress::parse("login@acme.example").expect("valid") };
    let options = TemplateOptions {
        directory: Some(TEMPLATES.path()),
        ..TemplateOptions::plain("Acme", sender)
    };
    Live::new(Templates::load(options).expect("usable"))
}
