//! The label values of the metrics: closed sets, so that a series can be neither misspelt nor unbounded.

macro_rules! labels {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $label:literal,)* })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// Every value: each gets its series at the start, so that a rate begins at zero.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The value as exposed.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }
    )*};
}

labels! {
    /// What became of one webhook request.
    Webhook {
        /// Stored, and answered 200.
        Accepted = "accepted",
        /// A kind we do not mail, answered 200.
        Ignored = "ignored",
        /// A probe of `authpost doctor`, answered 200.
        Probe = "probe",
        /// Genuine and not an event we can read, answered 400.
        Unreadable = "unreadable",
        /// No signature, answered 401.
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
        /// The queue could not take it, answered 503.
        Unavailable = "unavailable",
    }
    /// Whether a dependency did what was asked.
    Success {
        /// It did.
        Ok = "ok",
        /// It did not.
        Failed = "failed",
    }
    /// How a delivery ended, this time.
    Ending {
        /// The relay has the mail.
        Sent = "sent",
        /// Mailed before.
        Duplicate = "duplicate",
        /// The code died first.
        Expired = "expired",
        /// A dead letter.
        Dead = "dead",
        /// Another attempt follows. The one ending that is not final.
        Retry = "retry",
    }
    /// What the dedupe store said.
    ClaimResult {
        /// Ours.
        Fresh = "fresh",
        /// Ours, after somebody who may have mailed.
        Doubtful = "doubtful",
        /// Somebody else's.
        Busy = "busy",
        /// Mailed already.
        Done = "done",
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
        /// Asking for it.
        Claim = "claim",
        /// Announcing the relay.
        Sending = "sending",
        /// Recording the mail.
        Complete = "complete",
        /// Giving it back.
        GiveBack = "give_back",
    }
    /// How an SMTP transaction ended.
    SmtpResult {
        /// 250 after the final dot.
        Accepted = "accepted",
        /// A 4xx.
        Deferred = "deferred",
        /// A 5xx.
        Refused = "refused",
        /// No connection, or one that broke before the final dot.
        Unavailable = "unavailable",
        /// Credentials or TLS refused.
        Misconfigured = "misconfigured",
        /// No answer after the final dot.
        Ambiguous = "ambiguous",
    }
    /// How a WorkOS read ended.
    WorkosResult {
        /// A code.
        Ok = "ok",
        /// 404.
        NotFound = "not_found",
        /// 429.
        RateLimited = "rate_limited",
        /// 401 or 403.
        Unauthorized = "unauthorized",
        /// No answer, or a 5xx.
        Unavailable = "unavailable",
        /// Anything else.
        BadAnswer = "bad_answer",
    }
    /// What became of an event in WorkOS's list.
    Reconciled {
        /// Nobody here had heard of it: put into the queue.
        Fed = "fed",
        /// Brought by its webhook.
        Known = "known",
        /// Too young to be missed, or too old to be mailed.
        Left = "left",
    }
    /// How a sign-in ended.
    SignInResult {
        /// Signed in.
        LoginSuccessful = "login_successful",
        /// Known to WorkOS, and no active member.
        MembershipDeactivated = "membership_deactivated",
        /// Came back too late.
        LinkExpired = "link_expired",
        /// Came back with something that nobody can be signed in by.
        LinkInvalid = "link_invalid",
        /// WorkOS wants something more of the person.
        ActionRequired = "action_required",
        /// WorkOS, or the place where states are spent, did not answer.
        Unavailable = "unavailable",
        /// WorkOS refuses us, or its tokens are not from an issuer we know.
        Misconfigured = "misconfigured",
        /// Too many from one address.
        Limited = "limited",
    }
    /// Why a state is not believed.
    StateRefusal {
        /// Not of our form.
        Malformed = "malformed",
        /// Not signed by us.
        Forged = "forged",
        /// Of another browser, or one without its cookie.
        OtherBrowser = "other_browser",
        /// Over ten minutes old.
        Expired = "expired",
        /// Used before.
        Replayed = "replayed",
    }
    /// How the refresh of a session ended.
    Refresh {
        /// New tokens.
        Ok = "ok",
        /// A token that is good for nothing any more.
        Refused = "refused",
        /// Nobody knows: WorkOS did not answer, or refuses us.
        Failed = "failed",
    }
    /// A part of the queue.
    Part {
        /// Waiting to be taken.
        Work = "work",
        /// Resting before a retry.
        Retry = "retry",
        /// Dead letters.
        Dead = "dead",
    }
    /// A connection to an engine.
    LinkName {
        /// Publishing.
        Publisher = "publisher",
        /// Consuming.
        Consumer = "consumer",
    }
}
