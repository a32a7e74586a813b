//! One SMTP connection: opened with a limit on every step, and reused as long as each mail ended
//! cleanly.

use std::{
    fmt::Display,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{
    address::EmailAddress,
    fault::{Fault, Reason, Severity},
};
use lettre::transport::smtp::{
    client::AsyncSmtpConnection,
    commands::{Noop, Rset},
    extension::ClientId,
};
use tokio::time::{Instant, timeout};

use super::{
    answer::{Answer, classify, not_opened, refused},
    config::RelayConfig,
    guarded::{Beside, Greeted},
    hello::Extensions,
    login,
    oauth::{AccessTokens, Token},
    reply::{self, Concerns, Phase, Refusal, unavailable},
    stream::{self, within},
    transparency::transparent,
};
use crate::mail::{Mail, SendError};

/// A connection that is ready for mails.
pub(super) struct SmtpConnection {
    smtp: AsyncSmtpConnection,
    beside: Beside,
    offers: Offers,
    command_timeout: Duration,
    opened: Instant,
    last_used: Instant,
    /// Whether no transaction is in progress. Cleared before the first byte of one and set after
    /// its last answer, so a transaction that is cut off leaves it cleared.
    clean: bool,
}

/// The extensions that mails make use of.
#[derive(Clone, Copy)]
struct Offers {
    /// MAIL, RCPT and DATA in one round trip (RFC 2920).
    pipelining: bool,
    /// Addresses beyond ASCII (RFC 6531).
    smtputf8: bool,
    /// What a bounce may contain (RFC 3461).
    dsn: bool,
}

impl Offers {
    fn of(offers: &Extensions) -> Self {
        let has = |keyword| offers.has(keyword);
        Self { pipelining: has("PIPELINING"), smtputf8: has("SMTPUTF8"), dsn: has("DSN") }
    }
}

/// How far a transaction got before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The relay answered nothing: the connection was closed before.
    Unanswered,
    /// The relay answered to the first command that it closes the connection.
    Closing,
    /// The relay answered at least one command.
    Begun,
}

impl Stage {
    /// The stage of a failure by 421.
    fn closing(self) -> Self {
        if self == Self::Unanswered { Self::Closing } else { self }
    }
}

/// A failed transaction, and whether the connection is still usable.
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) error: SendError,
    pub(super) concerns: Concerns,
}

impl Failure {
    fn new(stage: Stage, error: SendError) -> Self {
        Self { stage, error, concerns: Concerns::ThisMail }
    }

    fn refused(Refusal { fault, concerns }: Refusal) -> Self {
        Self { stage: Stage::Begun, error: SendError::NotSent(fault), concerns }
    }

    fn lost(stage: Stage, Refusal { fault, concerns }: Refusal) -> Self {
        Self { stage, error: SendError::NotSent(fault), concerns }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal)
    }
}

impl SmtpConnection {
    /// Opens a connection and logs in. An access token that the relay refuses is replaced once: it
    /// may have been revoked.
    pub(super) async fn open(
        config: &RelayConfig,
        tokens: Option<&Arc<AccessTokens>>,
    ) -> Result<Self, Refusal> {
        let opening = async {
            let token = login::token(tokens).await?;
            let refusal =
                match Self::log_in(stream::open(config).await?, config, token.as_deref()).await {
                    Err(refusal) if refusal.fault.severity == Severity::Misconfigured => refusal,
                    opened => return opened,
                };
            let (Some(tokens), Some(token)) = (tokens, token) else { return Err(refusal) };
            tokens.refused(&token);
            let token = tokens.token().await?;
            Self::log_in(stream::open(config).await?, config, Some(&token)).await
        };
        within(config.timeouts.connect, "AUTHPOST_SMTP_CONNECT_TIMEOUT", opening).await?
    }

    /// Logs in on a stream, if there are credentials.
    pub(super) async fn log_in(
        Greeted { stream, offers, beside }: Greeted,
        config: &RelayConfig,
        token: Option<&Token>,
    ) -> Result<Self, Refusal> {
        let hello = ClientId::Domain(config.hello.clone());
        let mut smtp = AsyncSmtpConnection::connect_with_transport(stream, &hello)
            .await
            .map_err(|error| not_opened(Phase::Hello, &error))?;
        login::log_in(&mut smtp, &offers, config, token).await?;
        let now = Instant::now();
        Ok(Self {
            smtp,
            beside,
            offers: Offers::of(&offers),
            command_timeout: config.timeouts.command,
            opened: now,
            last_used: now,
            clean: true,
        })
    }

    pub(super) fn is_clean(&self) -> bool {
        self.clean
    }

    /// Whether the relay still keeps the idle connection open, as far as is known here.
    pub(super) fn is_open(&self) -> bool {
        self.beside.is_open()
    }

    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.last_used.elapsed()
    }

    /// Whether the relay answers this command with 250 in time.
    async fn is_accepted(&mut self, command: impl Display) -> bool {
        let answer = timeout(self.command_timeout, self.smtp.command(command)).await;
        matches!(answer, Ok(Ok(answer)) if u16::from(answer.code()) == 250)
    }

    /// Tests the connection with NOOP.
    pub(super) async fn is_alive(&mut self) -> bool {
        self.clean = false;
        let alive = self.is_accepted(Noop).await;
        self.clean = alive;
        alive
    }

    /// Announces one mail: MAIL, RCPT and DATA.
    pub(super) async fn envelope(
        &mut self,
        mail: &Mail,
        config: &RelayConfig,
    ) -> Result<(), Failure> {
        let commands = self
            .commands(mail, config)
            .map_err(|fault| Failure::lost(Stage::Begun, fault.into()))?;
        self.clean = false;
        let limit = self.command_timeout;
        let mut stage = Stage::Unanswered;
        let envelope = async {
            if self.offers.pipelining {
                self.envelope_at_once(&commands, &mut stage).await
            } else {
                self.envelope_stepwise(&commands, &mut stage).await
            }
        };
        // One limit for all answers of the envelope: a relay that is slow at one command is often
        // quick at the others.
        within(limit, "AUTHPOST_SMTP_COMMAND_TIMEOUT", envelope)
            .await
            .map_err(|fault| Failure::lost(stage, fault.into()))?
    }

    /// The commands of the envelope. Fails if the relay does not support the characters of an
    /// address.
    fn commands(&self, mail: &Mail, config: &RelayConfig) -> Result<[String; 3], Fault> {
        let sender = config.envelope_from.as_ref().unwrap_or(&mail.sender);
        let ascii = |address: &EmailAddress| address.expose_local().is_ascii();
        let beyond_ascii = !ascii(&mail.recipient) || !ascii(sender);
        if beyond_ascii && !self.offers.smtputf8 {
            return Err(Fault::permanent(
                Reason::UnsupportedAddress,
                "the address needs SMTPUTF8, which the relay does not offer",
            ));
        }
        let (sender, recipient) = (sender.expose(), mail.recipient.expose());
        let utf8 = if beyond_ascii { " SMTPUTF8" } else { "" };
        // A bounce must not carry the code back.
        let (headers_only, on_failure) = if self.offers.dsn {
            (format!(" RET=HDRS ENVID={}", mail.event_digest), " NOTIFY=FAILURE")
        } else {
            (String::new(), "")
        };
        Ok([
            format!("MAIL FROM:<{sender}>{utf8}{headers_only}\r\n"),
            format!("RCPT TO:<{recipient}>{on_failure}\r\n"),
            "DATA\r\n".to_owned(),
        ])
    }

    async fn envelope_stepwise(
        &mut self,
        commands: &[String; 3],
        stage: &mut Stage,
    ) -> Result<(), Failure> {
        for (command, phase) in commands.iter().zip([Phase::Mail, Phase::Rcpt, Phase::Data]) {
            match classify(phase, self.smtp.command(command).await) {
                Answer::Good => *stage = Stage::Begun,
                Answer::Refused(refusal) => {
                    self.reset().await;
                    return Err(Failure::refused(refusal));
                }
                Answer::Closing(refusal) => return Err(Failure::lost(stage.closing(), refusal)),
                Answer::Lost(refusal) => return Err(Failure::lost(*stage, refusal)),
            }
        }
        Ok(())
    }

    /// Sends all three commands in one write and reads three answers. The first refusal counts.
    /// After a refused recipient a relay refuses DATA too (RFC 2920, 3.1); if it does not, the
    /// connection is closed without a body.
    async fn envelope_at_once(
        &mut self,
        commands: &[String; 3],
        stage: &mut Stage,
    ) -> Result<(), Failure> {
        let mut refused = None;
        for phase in [Phase::Mail, Phase::Rcpt, Phase::Data] {
            let answer = match phase {
                Phase::Mail => self.smtp.command(commands.concat()).await,
                _ => self.smtp.read_response().await,
            };
            match (classify(phase, answer), refused.take()) {
                // The body is open although an address was refused: not reset, the connection is
                // not reused.
                (Answer::Good, Some(refusal)) if phase == Phase::Data => {
                    return Err(Failure::refused(refusal));
                }
                (Answer::Good, earlier) => refused = earlier,
                (Answer::Refused(refusal), earlier) => refused = earlier.or(Some(refusal)),
                (Answer::Closing(refusal), None) => {
                    return Err(Failure::lost(stage.closing(), refusal));
                }
                (Answer::Lost(refusal) | Answer::Closing(refusal), earlier) => {
                    let lost = Failure::lost(*stage, refusal);
                    return Err(earlier.map_or(lost, Failure::refused));
                }
            }
            *stage = Stage::Begun;
        }
        let Some(refusal) = refused else { return Ok(()) };
        self.reset().await;
        Err(Failure::refused(refusal))
    }

    /// Resets the connection (RSET), so that it can be reused.
    async fn reset(&mut self) {
        self.clean = self.is_accepted(Rset).await;
        self.last_used = Instant::now();
    }

    /// Sends the body and the final dot. A failure before the dot means that the mail was not sent;
    /// after it, that is unknown.
    /// `Ok` is the relay's queue id.
    pub(super) async fn body(
        &mut self,
        mail: &Mail,
        config: &RelayConfig,
    ) -> Result<String, Failure> {
        let result = self.body_and_dot(mail, config).await;
        self.last_used = Instant::now();
        result
    }

    async fn body_and_dot(&mut self, mail: &Mail, config: &RelayConfig) -> Result<String, Failure> {
        let content = transparent([config.headers.as_bytes(), mail.expose()]);
        let written = AtomicUsize::new(0);
        let dot_written = || written.load(Ordering::Relaxed) == content.len();
        let exchange = async {
            self.beside.write(&content, &written).await.ok()?;
            Some(self.smtp.read_response().await)
        };
        let ambiguous = |detail: &'static str| {
            Err(Failure::new(Stage::Begun, SendError::Ambiguous(detail.into())))
        };
        match timeout(config.timeouts.last, exchange).await {
            Ok(Some(Ok(response))) if u16::from(response.code()) == 250 => {
                self.clean = true;
                Ok(reply::receipt_in(response.message()))
            }
            Ok(Some(Err(error))) if error.status().is_some() => {
                // Some relays keep the transaction open, and would refuse the next person's mail.
                if error.status().map(u16::from) != Some(421) {
                    self.reset().await;
                }
                Err(Failure::refused(refused(Phase::Last, &error)))
            }
            _ if !dot_written() => {
                let fault = unavailable("the connection broke while the mail was sent");
                Err(Failure::lost(Stage::Begun, fault.into()))
            }
            Ok(Some(Ok(_))) => ambiguous("the answer of the relay to the final dot is not valid"),
            Ok(_) => ambiguous("the relay hung up after the final dot"),
            Err(_) => ambiguous("the relay did not answer the final dot in time"),
        }
    }
}
