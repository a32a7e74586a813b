//! One SMTP connection: opened with every step bounded, used for one mail after another as long as each ended cleanly.

use std::{
    iter,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
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
use shared::{
    address::EmailAddress,
    fault::{Fault, Reason},
};
use tokio::time::{Instant, timeout};

use super::{
    reply::{self, Phase, refusal, unavailable},
    settings::{SmtpSettings, Timeouts},
    stream::{self, Greeted, in_time},
};
use crate::mail::{Accepted, Mail, SendError, message};

/// A connection that is ready for mails.
pub(super) struct Connection {
    smtp: AsyncSmtpConnection,
    /// PIPELINING (RFC 2920): MAIL, RCPT and DATA in one round trip.
    pipelining: bool,
    smtputf8: bool,
    timeouts: Timeouts,
    opened: Instant,
    last_used: Instant,
    /// Whether no transaction is half done. Set back before the first byte of one, set again after its last answer:
    /// a transaction that is cut off anywhere leaves it unset.
    clean: bool,
}

/// How far a transaction had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The relay answered nothing at all: the connection was dead before.
    Untouched,
    /// Later.
    Begun,
}

/// A transaction that failed.
pub(super) struct Failure {
    pub(super) stage: Stage,
    pub(super) error: SendError,
}

impl Connection {
    /// A connection from nothing.
    pub(super) async fn open(settings: &SmtpSettings) -> Result<Self, Fault> {
        Self::log_in(stream::open(settings).await?, settings).await
    }

    /// Logs in, if there are credentials.
    pub(super) async fn log_in((stream, offers): Greeted, settings: &SmtpSettings) -> Result<Self, Fault> {
        let Timeouts { connect, .. } = settings.timeouts;
        let hello = ClientId::Domain(settings.hello.clone());
        let mut smtp = in_time(connect, AsyncSmtpConnection::connect_with_transport(stream, &hello))
            .await?
            .map_err(|error| broken(Phase::Hello, &error))?;
        if let Some((user, password)) = &settings.credentials {
            let credentials = Credentials::new(user.clone(), password.expose_secret().to_owned());
            let mechanisms = [Mechanism::Plain, Mechanism::Login];
            let answer = in_time(connect, smtp.auth(&mechanisms, &credentials)).await?.map_err(|error| broken(Phase::Auth, &error))?;
            if u16::from(answer.code()) != 235 {
                return Err(refusal(Phase::Auth, answer.code().into()));
            }
        }
        let (pipelining, smtputf8) = (offers.has("PIPELINING"), offers.has("SMTPUTF8"));
        let now = Instant::now();
        Ok(Self { smtp, pipelining, smtputf8, timeouts: settings.timeouts, opened: now, last_used: now, clean: true })
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

    /// Asks the relay.
    pub(super) async fn still_lives(&mut self) -> bool {
        self.clean = false;
        let lives =
            matches!(timeout(self.timeouts.command, self.smtp.command(Noop)).await, Ok(Ok(answer)) if u16::from(answer.code()) == 250);
        self.clean = lives;
        lives
    }

    /// Hands over one mail.
    pub(super) async fn transact(&mut self, mail: &Mail) -> Result<Accepted, Failure> {
        let begun = |error| Failure { stage: Stage::Begun, error };
        let commands = self.commands(mail).map_err(|fault| begun(SendError::NotSent(fault)))?;
        self.clean = false;
        let envelope = if self.pipelining { self.envelope_at_once(&commands).await } else { self.envelope_stepwise(&commands).await };
        envelope.map_err(|(stage, fault)| Failure { stage, error: SendError::NotSent(fault) })?;
        let result = self.body(mail).await.map_err(begun);
        self.last_used = Instant::now();
        result
    }

    /// The envelope as commands. Refused here when the relay could not understand the address.
    fn commands(&self, mail: &Mail) -> Result<[String; 3], Fault> {
        let ascii = |address: &EmailAddress| address.expose_local().is_ascii();
        let beyond_ascii = !ascii(&mail.recipient) || !ascii(&mail.sender);
        if beyond_ascii && !self.smtputf8 {
            return Err(Fault::permanent(Reason::UnsupportedAddress, "the address needs SMTPUTF8, which the relay does not offer"));
        }
        let (sender, recipient) = (message::address(&mail.sender)?, message::address(&mail.recipient)?);
        let utf8 = if beyond_ascii { " SMTPUTF8" } else { "" };
        Ok([format!("MAIL FROM:<{sender}>{utf8}\r\n"), format!("RCPT TO:<{recipient}>\r\n"), "DATA\r\n".to_owned()])
    }

    async fn envelope_stepwise(&mut self, commands: &[String; 3]) -> Result<(), (Stage, Fault)> {
        let mut stage = Stage::Untouched;
        for (command, phase) in commands.iter().zip([Phase::Mail, Phase::Rcpt, Phase::Data]) {
            let answer = in_time(self.timeouts.command, self.smtp.command(command)).await.map_err(|fault| (stage, fault))?;
            match understood(phase, answer) {
                Answer::Good => stage = Stage::Begun,
                Answer::Refused(fault) => {
                    self.reset().await;
                    return Err((Stage::Begun, fault));
                }
                Answer::Lost(fault) => return Err((stage, fault)),
            }
        }
        Ok(())
    }

    /// All three in one write; three answers. The first refusal counts. After a refused recipient a relay refuses DATA
    /// too (RFC 2920, 3.1); one that opens the body all the same gets an empty connection, not an empty mail.
    async fn envelope_at_once(&mut self, commands: &[String; 3]) -> Result<(), (Stage, Fault)> {
        let mut stage = Stage::Untouched;
        let mut refused = None;
        let mut first = Some(self.timeouts.command);
        for phase in [Phase::Mail, Phase::Rcpt, Phase::Data] {
            let answer = match first.take() {
                Some(patience) => in_time(patience, self.smtp.command(commands.concat())).await,
                None => in_time(self.timeouts.command, self.smtp.read_response()).await,
            };
            match understood(phase, answer.map_err(|fault| (stage, fault))?) {
                Answer::Good if phase == Phase::Data && refused.is_some() => {
                    return Err((Stage::Begun, refused.unwrap_or_else(|| unavailable("the relay lost the thread"))));
                }
                Answer::Good => {}
                Answer::Refused(fault) => refused = refused.or(Some(fault)),
                Answer::Lost(fault) => return Err((stage, refused.unwrap_or(fault))),
            }
            stage = Stage::Begun;
        }
        match refused {
            None => Ok(()),
            Some(fault) => {
                self.reset().await;
                Err((Stage::Begun, fault))
            }
        }
    }

    /// Brings the connection back to where a new mail can begin, unless the relay is about to close it.
    async fn reset(&mut self) {
        self.clean =
            matches!(timeout(self.timeouts.command, self.smtp.command(Rset)).await, Ok(Ok(answer)) if u16::from(answer.code()) == 250);
        self.last_used = Instant::now();
    }

    /// The body and the final dot. Before the dot a failure means "not sent"; after it nobody can know.
    async fn body(&mut self, mail: &Mail) -> Result<Accepted, SendError> {
        let dot_written = AtomicBool::new(false);
        // lettre writes the final dot right after the iterator has ended.
        let parts = iter::once(mail.expose()).chain(iter::from_fn(|| {
            dot_written.store(true, Ordering::Relaxed);
            None
        }));
        let answer = timeout(self.timeouts.last, self.smtp.message_iter(parts)).await;
        match answer {
            Ok(Ok(response)) if u16::from(response.code()) == 250 => {
                self.clean = true;
                Ok(Accepted { receipt: reply::receipt(response.message().last().unwrap_or_default()) })
            }
            Ok(Err(error)) if error.status().is_some() && dot_written.load(Ordering::Relaxed) => {
                let code = error.status().map_or(0, u16::from);
                self.clean = code != 421;
                Err(SendError::NotSent(refusal(Phase::Last, code)))
            }
            _ if !dot_written.load(Ordering::Relaxed) => {
                Err(SendError::NotSent(unavailable("the connection broke while the mail was sent")))
            }
            Ok(Ok(_)) => Err(SendError::Ambiguous("the relay's answer to the final dot makes no sense".into())),
            Ok(Err(_)) => Err(SendError::Ambiguous("the relay hung up after the final dot".into())),
            Err(_) => Err(SendError::Ambiguous("the relay did not answer the final dot in time".into())),
        }
    }
}

enum Answer {
    Good,
    Refused(Fault),
    Lost(Fault),
}

/// One answer to one command of the envelope.
fn understood(phase: Phase, answer: Result<Response, SmtpError>) -> Answer {
    match answer {
        Ok(response) => {
            let code = u16::from(response.code());
            let wanted = if phase == Phase::Data { code == 354 } else { matches!(code, 250..=252) };
            if wanted { Answer::Good } else { Answer::Lost(refusal(phase, code)) }
        }
        Err(error) => match error.status().map(u16::from) {
            // 421 announces that the relay is about to hang up.
            Some(421) => Answer::Lost(refusal(phase, 421)),
            Some(code) => Answer::Refused(refusal(phase, code)),
            None => Answer::Lost(unavailable("the connection to the relay broke")),
        },
    }
}

/// A failure while the connection was being opened.
fn broken(phase: Phase, error: &SmtpError) -> Fault {
    match error.status() {
        Some(code) => refusal(phase, code.into()),
        // lettre's word for "the relay offers no mechanism we know".
        None if phase == Phase::Auth && error.is_client() => {
            Fault::misconfigured(Reason::RelayRefusedUs, "the relay offers neither AUTH PLAIN nor AUTH LOGIN")
        }
        None => unavailable("the relay broke off the greeting"),
    }
}
