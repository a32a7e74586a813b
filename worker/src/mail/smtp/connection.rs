//! One SMTP connection: opened with a limit on every step, and reused as long as each mail ended
//! cleanly.

use std::{
    error::Error as _,
    fmt::Display,
    iter,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use domain::{
    address::EmailAddress,
    fault::{Fault, Reason},
};
use lettre::transport::smtp::{
    Error as SmtpError,
    authentication::{Credentials, Mechanism},
    client::AsyncSmtpConnection,
    commands::{Noop, Rset},
    extension::ClientId,
    response::Response,
};
use secrecy::ExposeSecret as _;
use tokio::time::{Instant, timeout};

use super::{
    config::{RelayConfig, Timeouts},
    reply::{self, Concerns, Phase, Refusal, enhanced, refusal, unavailable},
    stream::{self, Greeted, within},
};
use crate::mail::{Accepted, Mail, SendError, message};

/// A connection that is ready for mails.
pub(super) struct SmtpConnection {
    smtp: AsyncSmtpConnection,
    /// PIPELINING (RFC 2920): MAIL, RCPT and DATA in one round trip.
    pipelining: bool,
    smtputf8: bool,
    timeouts: Timeouts,
    opened: Instant,
    last_used: Instant,
    /// Whether no transaction is in progress. Cleared before the first byte of one and set after
    /// its last answer, so a transaction that is cut off leaves it cleared.
    clean: bool,
}

/// How far a transaction got before it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The relay answered nothing: the connection was closed before.
    Unanswered,
    /// The relay answered at least one command.
    Begun,
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

    fn lost(stage: Stage, fault: Fault) -> Self {
        Self::new(stage, SendError::NotSent(fault))
    }
}

impl SmtpConnection {
    /// Opens a connection and logs in.
    pub(super) async fn open(config: &RelayConfig) -> Result<Self, Fault> {
        let opening = async { Self::log_in(stream::open(config).await?, config).await };
        within(config.timeouts.connect, "AUTHPOST_SMTP_CONNECT_TIMEOUT", opening).await?
    }

    /// Logs in on a stream, if there are credentials.
    pub(super) async fn log_in(
        (stream, offers): Greeted,
        config: &RelayConfig,
    ) -> Result<Self, Fault> {
        let hello = ClientId::Domain(config.hello.clone());
        let mut smtp = AsyncSmtpConnection::connect_with_transport(stream, &hello)
            .await
            .map_err(|error| not_opened(Phase::Hello, &error))?;
        if let Some((user, password)) = &config.credentials {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let answer = smtp
                .auth(&mechanisms, &credentials)
                .await
                .map_err(|error| not_opened(Phase::Auth, &error))?;
            if u16::from(answer.code()) != 235 {
                return Err(answered(Phase::Auth, &answer).fault);
            }
        }
        let (pipelining, smtputf8) = (offers.has("PIPELINING"), offers.has("SMTPUTF8"));
        let now = Instant::now();
        Ok(Self {
            smtp,
            pipelining,
            smtputf8,
            timeouts: config.timeouts,
            opened: now,
            last_used: now,
            clean: true,
        })
    }

    pub(super) fn is_clean(&self) -> bool {
        self.clean
    }

    pub(super) fn age(&self) -> Duration {
        self.opened.elapsed()
    }

    pub(super) fn idle_for(&self) -> Duration {
        self.last_used.elapsed()
    }

    /// Whether the relay answers this command with 250 in time.
    async fn is_accepted(&mut self, command: impl Display) -> bool {
        let answer = timeout(self.timeouts.command, self.smtp.command(command)).await;
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
    pub(super) async fn envelope(&mut self, mail: &Mail) -> Result<(), Failure> {
        let commands = self.commands(mail).map_err(|fault| Failure::lost(Stage::Begun, fault))?;
        self.clean = false;
        let limit = self.timeouts.command;
        let mut stage = Stage::Unanswered;
        let envelope = async {
            if self.pipelining {
                self.envelope_at_once(&commands, &mut stage).await
            } else {
                self.envelope_stepwise(&commands, &mut stage).await
            }
        };
        // One limit for all answers of the envelope: a relay that is slow at one command is often
        // quick at the others.
        within(limit, "AUTHPOST_SMTP_COMMAND_TIMEOUT", envelope)
            .await
            .map_err(|fault| Failure::lost(stage, fault))?
    }

    /// The commands of the envelope. Fails if the relay does not support the characters of an
    /// address.
    fn commands(&self, mail: &Mail) -> Result<[String; 3], Fault> {
        let ascii = |address: &EmailAddress| address.expose_local().is_ascii();
        let beyond_ascii = !ascii(&mail.recipient) || !ascii(&mail.sender);
        if beyond_ascii && !self.smtputf8 {
            return Err(Fault::permanent(
                Reason::UnsupportedAddress,
                "the address needs SMTPUTF8, which the relay does not offer",
            ));
        }
        let (sender, recipient) =
            (message::address(&mail.sender)?, message::address(&mail.recipient)?);
        let utf8 = if beyond_ascii { " SMTPUTF8" } else { "" };
        Ok([
            format!("MAIL FROM:<{sender}>{utf8}\r\n"),
            format!("RCPT TO:<{recipient}>\r\n"),
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
                Answer::Lost(fault) => return Err(Failure::lost(*stage, fault)),
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
                (Answer::Lost(fault), earlier) => {
                    let lost = Failure::lost(*stage, fault);
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
    pub(super) async fn body(&mut self, mail: &Mail) -> Result<Accepted, Failure> {
        let result = self.body_and_dot(mail).await;
        self.last_used = Instant::now();
        result
    }

    async fn body_and_dot(&mut self, mail: &Mail) -> Result<Accepted, Failure> {
        let dot_written = AtomicBool::new(false);
        // lettre writes the final dot right after the iterator has ended.
        let parts = iter::once(mail.expose()).chain(iter::from_fn(|| {
            dot_written.store(true, Ordering::Relaxed);
            None
        }));
        let ambiguous = |detail: &'static str| {
            Err(Failure::new(Stage::Begun, SendError::Ambiguous(detail.into())))
        };
        match timeout(self.timeouts.last, self.smtp.message_iter(parts)).await {
            Ok(Ok(response)) if u16::from(response.code()) == 250 => {
                self.clean = true;
                let receipt = response.message().map(reply::receipt).find(|id| !id.is_empty());
                Ok(Accepted { receipt: receipt.unwrap_or_default() })
            }
            Ok(Err(error)) if error.status().is_some() && dot_written.load(Ordering::Relaxed) => {
                // Some relays keep the transaction open, and would refuse the next person's mail.
                if error.status().map(u16::from) != Some(421) {
                    self.reset().await;
                }
                Err(Failure::refused(refused(Phase::Last, &error)))
            }
            _ if !dot_written.load(Ordering::Relaxed) => {
                let fault = unavailable("the connection broke while the mail was sent");
                Err(Failure::lost(Stage::Begun, fault))
            }
            Ok(Ok(_)) => ambiguous("the answer of the relay to the final dot is not valid"),
            Ok(Err(_)) => ambiguous("the relay hung up after the final dot"),
            Err(_) => ambiguous("the relay did not answer the final dot in time"),
        }
    }
}

enum Answer {
    Good,
    Refused(Refusal),
    Lost(Fault),
}

/// Classifies the answer to one command of the envelope.
fn classify(phase: Phase, answer: Result<Response, SmtpError>) -> Answer {
    match answer {
        Ok(response) => {
            let code = u16::from(response.code());
            let wanted = if phase == Phase::Data { code == 354 } else { matches!(code, 250..=252) };
            if wanted { Answer::Good } else { Answer::Lost(answered(phase, &response).fault) }
        }
        Err(error) => match error.status().map(u16::from) {
            // 421 announces that the relay closes the connection.
            Some(421) => Answer::Lost(refused(phase, &error).fault),
            Some(_) => Answer::Refused(refused(phase, &error)),
            None => Answer::Lost(unavailable("the connection to the relay broke")),
        },
    }
}

/// The meaning of an answer that is not the one wanted.
fn answered(phase: Phase, response: &Response) -> Refusal {
    let code = u16::from(response.code());
    refusal(phase, code, response.message().find_map(|text| enhanced(code, text)))
}

/// The meaning of a refusal. lettre keeps the text of its answer as the source of the error.
fn refused(phase: Phase, error: &SmtpError) -> Refusal {
    let code = error.status().map_or(0, u16::from);
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    refusal(phase, code, text.lines().find_map(|line| enhanced(code, line)))
}

/// The fault for a failure while the connection is opened.
fn not_opened(phase: Phase, error: &SmtpError) -> Fault {
    match error.status() {
        Some(_) => refused(phase, error).fault,
        // How lettre reports that the relay offers no known mechanism.
        None if phase == Phase::Auth && error.is_client() => Fault::misconfigured(
            Reason::RelayRefusedUs,
            "the relay offers neither AUTH PLAIN nor AUTH LOGIN",
        ),
        None => unavailable("the relay closed the connection during the greeting"),
    }
}
