//! The label values of the metrics: closed sets, so that a series can be neither misspelt nor
//! unbounded.

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value: each gets its series at the start, so that a rate begins at zero.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The value as a label.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    )*};
}

labels! {
    /// What became of one webhook request.
    Webhook {
        Accepted = "accepted",
        /// A kind we do not mail, answered 200.
        Ignored = "ignored",
        /// A probe of `authpost doctor`, answered 200.
        Probe = "probe",
        /// Genuine and not an event we can read, answered 400.
        Unreadable = "unreadable",
        /// Without a signature header, answered 401.
        MissingSignature = "missing_signature",
        /// A signature header of another form, answered 401.
        MalformedSignature = "malformed_signature",
        /// A signature of nobody we know, answered 401.
        Forged = "forged",
        /// A genuine signature of another time, answered 401.
        Stale = "stale",
        /// A body over the limit, answered 413.
        TooLarge = "too_large",
        /// A body that did not arrive in time, answered 408, or broke off.
        Incomplete = "incomplete",
        /// A large body while as many as allowed were being read, answered 503.
        Crowded = "crowded",
        /// The queue could not take it, answered 503.
        Unavailable = "unavailable",
    }
    /// Why a connection was closed.
    HttpClosed {
        /// By the client, or after an answer that said so.
        Finished = "finished",
        /// No request within the keep-alive time.
        Idle = "idle",
        /// The head of a request took too long.
        Slow = "slow",
        /// The client did not read its answers.
        Unread = "unread",
        /// It gave its place to a newer connection.
        Crowded = "crowded",
    }
    /// Whether a dependency did what was asked.
    Success {
        Ok = "ok",
        Failed = "failed",
    }
    /// How a delivery ended, this time.
    Ending {
        /// The relay has the mail.
        Sent = "sent",
        /// The mail had been sent before.
        Duplicate = "duplicate",
        /// The code expired before it could be mailed.
        Expired = "expired",
        /// A newer code of the same user was mailed.
        Superseded = "superseded",
        /// The event became a dead letter.
        Dead = "dead",
        /// Another attempt follows. The one ending that is not final.
        Retry = "retry",
    }
    /// What the dedupe store said.
    ClaimResult {
        /// The claim was granted, as the first.
        Fresh = "fresh",
        /// Ours, after somebody who may have mailed.
        Doubtful = "doubtful",
        /// Another worker holds the claim.
        Busy = "busy",
        /// The mail was sent already.
        Done = "done",
        /// A newer code of the same user was mailed.
        Superseded = "superseded",
        /// A newer code of the same user goes first.
        GivesWay = "gives_way",
        /// New, and its user is at the limit.
        OverLimit = "over_limit",
        /// New, and all users together are at the limit.
        Held = "held",
        /// Ours no more when we were about to send.
        Lost = "lost",
        /// Completed after our lease had passed on: two mails are possible.
        Late = "late",
        /// Completed by somebody else as well: two mails are out.
        Already = "already",
        /// Sent, and the store could not be told.
        Unrecorded = "unrecorded",
    }
    /// A step of a claim.
    ClaimStep {
        /// Taking out the claim on an event.
        Claim = "claim",
        /// Recording that the relay is about to be contacted.
        Sending = "sending",
        /// Recording that the mail was sent.
        Complete = "complete",
        /// Releasing the claim without a mail.
        GiveBack = "give_back",
    }
    /// How an SMTP transaction ended.
    SmtpResult {
        /// 250 after the final dot.
        Accepted = "accepted",
        Deferred = "deferred",
        /// A 5xx reply at any step.
        Refused = "refused",
        /// No connection, or one that broke before the final dot.
        Unavailable = "unavailable",
        /// The relay refused credentials or TLS.
        Misconfigured = "misconfigured",
        /// No answer after the final dot.
        Ambiguous = "ambiguous",
    }
    /// The state of a relay's circuit breaker.
    RelayState {
        /// It takes mails in its turn.
        Closed = "closed",
        /// It failed, and comes last until a test succeeds.
        Open = "open",
        /// It refuses our configuration, and comes last until a test succeeds.
        Misconfigured = "misconfigured",
    }
    /// How a WorkOS read ended.
    WorkosResult {
        Ok = "ok",
        NotFound = "not_found",
        RateLimited = "rate_limited",
        Unauthorized = "unauthorized",
        /// No answer, or a 5xx.
        Unavailable = "unavailable",
        /// An answer that is not a login code.
        BadAnswer = "bad_answer",
    }
    /// What became of an event in WorkOS's list.
    Reconciled {
        /// Nobody here had heard of it: put into the queue.
        Fed = "fed",
        /// Delivered by its webhook, or queued before.
        Known = "known",
        /// Too young to be missed, or too old to be mailed.
        Left = "left",
    }
    /// The result of a sign-in callback.
    SignInResult {
        LoginSuccessful = "login_successful",
        /// Known to WorkOS, and no active member.
        MembershipDeactivated = "membership_deactivated",
        /// The state, or the code that came with it, was too old.
        LinkExpired = "link_expired",
        /// Came back with something that nobody can be signed in by.
        LinkInvalid = "link_invalid",
        /// WorkOS wants something more of the person.
        ActionRequired = "action_required",
        /// WorkOS, or the place where states are spent, did not answer.
        Unavailable = "unavailable",
        /// WorkOS refuses us, or its tokens are not from an issuer we know.
        Misconfigured = "misconfigured",
        /// The session token does not fit into cookies.
        TokenTooLarge = "token_too_large",
        /// Too many from one address.
        Limited = "limited",
        /// The client hung up meanwhile.
        Abandoned = "abandoned",
    }
    /// Why a state is not believed.
    StateRefusal {
        /// Not in the form of a state.
        Malformed = "malformed",
        /// Not signed with our key.
        Forged = "forged",
        /// Of another browser, or one without its cookie.
        OtherBrowser = "other_browser",
        /// Signed longer ago than a state lives.
        Expired = "expired",
        /// A callback came without a state.
        Missing = "missing",
        Replayed = "replayed",
    }
    /// How the refresh of a session ended.
    Refresh {
        Ok = "ok",
        /// A token that is good for nothing any more.
        Refused = "refused",
        /// Another replica had sent the token before.
        Elsewhere = "elsewhere",
        /// WorkOS requires another step, or the person is no member of the organization.
        ActionRequired = "action_required",
        /// The new session token does not fit into cookies.
        TokenTooLarge = "token_too_large",
        /// Nobody knows: WorkOS did not answer, or refuses us.
        Failed = "failed",
        /// Too many that were refused from one address.
        Limited = "limited",
        /// The client hung up meanwhile.
        Abandoned = "abandoned",
    }
    /// A part of the queue.
    Part {
        /// Messages ready to be consumed.
        Work = "work",
        /// Messages that wait for a retry.
        Retry = "retry",
        Dead = "dead",
    }
    /// A connection to an engine.
    ConnectionName {
        Publisher = "publisher",
        Consumer = "consumer",
    }
}
