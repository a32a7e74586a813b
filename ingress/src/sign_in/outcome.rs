//! How sign-ins and refreshes end, before that is an answer.

use std::sync::Arc;

use domain::{
    fault::Fault,
    sessions::TokenClaims,
    sign_in::{
        provider::Tokens,
        refusal::Step,
        state::{Attempt, BrowserKey},
    },
};

/// A person who is signed in.
pub(super) struct SignedIn {
    pub(super) tokens: Tokens,
    pub(super) claims: TokenClaims,
    pub(super) attempt: Attempt,
    pub(super) key: BrowserKey,
}

/// Why a person is not signed in.
#[derive(Clone)]
pub(super) enum NotSignedIn {
    /// Known to WorkOS without an active membership; with the session to end, so that another
    /// address can be tried.
    MembershipDeactivated(Option<String>),
    LinkExpired,
    LinkInvalid,
    /// A code came without a state: the sign-in was begun at WorkOS.
    NoState,
    /// This browser is signed in by this very state: its callback came before.
    Already(Box<(TokenClaims, Attempt)>),
    ActionRequired(Step),
    /// WorkOS cannot make a session token of this size.
    TokenTooLarge,
    /// A failure of ours or of WorkOS.
    Fault(Fault),
}

/// The end of one sign-in, for every request that waited for it.
pub(super) type SignInOutcome = Result<Arc<SignedIn>, NotSignedIn>;

/// What a refresh token became.
pub(super) struct Renewed {
    pub(super) tokens: Tokens,
    /// The claims of the new access token, or why they are not known.
    pub(super) claims: Result<TokenClaims, Fault>,
}

/// Why there are no new tokens. The cookies stay in every case.
#[derive(Clone)]
pub(super) enum NotRenewed {
    /// WorkOS refused the refresh token.
    Refused,
    /// Another replica is exchanging this token, or has done so.
    Elsewhere,
    /// Not an active member of the organization that was asked for.
    NotAMember,
    Step(Step),
    /// WorkOS cannot make a session token of this size.
    TokenTooLarge,
    Fault(Fault),
}

/// The end of one exchange, for every request that waited for it.
pub(super) type RefreshOutcome = Result<Arc<Renewed>, NotRenewed>;
