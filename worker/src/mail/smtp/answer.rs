//! From lettre's answers and errors to what they mean: the one place that looks at them.

use std::error::Error as _;

use lettre::transport::smtp::{Error as SmtpError, response::Response};

use super::reply::{Phase, Refusal, enhanced, refusal, unavailable};

/// What an answer to one command of the envelope means for the conversation.
pub(super) enum Answer {
    Good,
    Refused(Refusal),
    /// 421: the relay closes the connection.
    Closing(Refusal),
    /// The connection is of no use any more.
    Lost(Refusal),
}

/// Classifies the answer to one command of the envelope.
pub(super) fn classify(phase: Phase, answer: Result<Response, SmtpError>) -> Answer {
    match answer {
        Ok(response) => {
            let code = u16::from(response.code());
            let wanted = if phase == Phase::Data { code == 354 } else { matches!(code, 250..=252) };
            if wanted { Answer::Good } else { Answer::Lost(answered(phase, &response)) }
        }
        Err(error) => match error.status().map(u16::from) {
            Some(421) => Answer::Closing(refused(phase, &error)),
            Some(_) => Answer::Refused(refused(phase, &error)),
            None => Answer::Lost(unavailable("the connection to the relay broke").into()),
        },
    }
}

/// The meaning of an answer that is not the one wanted.
pub(super) fn answered(phase: Phase, response: &Response) -> Refusal {
    let code = u16::from(response.code());
    refusal(phase, code, response.message().find_map(|text| enhanced(code, text)))
}

/// The meaning of a refusal. lettre keeps the text of its answer as the source of the error.
pub(super) fn refused(phase: Phase, error: &SmtpError) -> Refusal {
    let code = error.status().map_or(0, u16::from);
    let text = error.source().map(ToString::to_string).unwrap_or_default();
    refusal(phase, code, text.lines().find_map(|line| enhanced(code, line)))
}

/// The refusal for a failure while the connection is opened.
pub(super) fn not_opened(phase: Phase, error: &SmtpError) -> Refusal {
    match error.status() {
        Some(_) => refused(phase, error),
        None => unavailable("the relay closed the connection during the greeting").into(),
    }
}
