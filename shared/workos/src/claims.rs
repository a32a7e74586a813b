//! The claims of a session token: which are needed, which must be ours where they are present, and
//! which may be anything (<https://workos.com/docs/authkit/sessions>,
//! <https://workos.com/docs/authkit/jwt-templates>).
//!
//! The keys of an environment sign tokens of agents and widgets, too. A template of the application
//! may give any other claim any type, and that must not keep people out.

use domain::sessions::{TokenClaims, UntrustedToken};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

/// How far WorkOS's clock may be from ours.
const LEEWAY: SignedDuration = SignedDuration::from_secs(30);

/// Longest issuer that is told, in characters.
const MAX_ISSUER: usize = 200;

/// Which clients' and issuers' tokens are accepted.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The client ID that a token must be for, if it says for which.
    pub client_id: String,
    /// Issuers, compared without a final slash.
    pub issuers: Vec<String>,
}

impl Rules {
    /// The claims, if they are those of a person's session with this client that is valid `now`.
    pub fn check(
        &self,
        claims: &Map<String, Value>,
        now: Timestamp,
    ) -> Result<TokenClaims, UntrustedToken> {
        let text =
            |name: &str| claims.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let (Some(sub), Some(sid), Some(iss), Some(exp)) =
            (text("sub"), text("sid"), text("iss"), seconds(claims.get("exp")))
        else {
            return Err(UntrustedToken::Malformed);
        };
        if !self.issuers.iter().any(|known| bare(known) == bare(iss)) {
            return Err(UntrustedToken::Issuer(iss.chars().take(MAX_ISSUER).collect()));
        }
        if ["aud", "client_id", "azp"].iter().any(|name| !self.names_us(claims.get(*name))) {
            return Err(UntrustedToken::Audience);
        }
        if !is_of_a_person(claims) {
            return Err(UntrustedToken::Kind);
        }
        let (now, leeway) = (now.as_second(), LEEWAY.as_secs());
        let early = seconds(claims.get("nbf")).is_some_and(|nbf| nbf.saturating_sub(leeway) > now);
        if early || exp.saturating_add(leeway) < now {
            return Err(UntrustedToken::Expired);
        }
        Ok(TokenClaims {
            sub: sub.to_owned(),
            sid: sid.to_owned(),
            exp,
            org_id: text("org_id").map(str::to_owned),
            act: actor(claims.get("act")),
            external_id: text("external_id").map(str::to_owned),
            role: claims.get("role").cloned().unwrap_or(Value::Null),
            permissions: claims.get("permissions").cloned().unwrap_or(Value::Null),
        })
    }

    /// Whether a claim names this client, alone or among others, or is absent.
    fn names_us(&self, claim: Option<&Value>) -> bool {
        match claim {
            None | Some(Value::Null) => true,
            Some(Value::Array(several)) => several.iter().any(|one| *one == self.client_id),
            Some(one) => *one == self.client_id,
        }
    }
}

/// An actor that cannot be read must not pass for none.
fn actor(act: Option<&Value>) -> Option<String> {
    let act = act.filter(|act| !act.is_null())?;
    Some(act["sub"].as_str().map_or_else(|| "unknown".to_owned(), str::to_owned))
}

/// Tokens of agents and widgets say what they are.
fn is_of_a_person(claims: &Map<String, Value>) -> bool {
    let absent = |value: Option<&Value>| value.is_none_or(Value::is_null);
    let profile = claims.get("sub_profile");
    absent(claims.get("sub_type")) && (absent(profile) || profile.is_some_and(|it| it == "user"))
}

/// A NumericDate (RFC 7519, 2), which may have a fraction, in seconds since the epoch.
fn seconds(claim: Option<&Value>) -> Option<i64> {
    let number = claim?;
    #[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and a time is compared")]
    number.as_i64().or_else(|| number.as_f64().map(|seconds| seconds.floor() as i64))
}

fn bare(issuer: &str) -> &str {
    issuer.strip_suffix('/').unwrap_or(issuer)
}

#[cfg(test)]
mod tests;
