//! A user and their memberships, as WorkOS describes them, and whether they may sign in
//! (<https://workos.com/docs/authkit/users-organizations>).

use serde::{Deserialize, Serialize};

/// A user, reduced to the fields that a frontend needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: String,
    /// The address they sign in with.
    pub email: String,
    /// Whether the user has verified that address.
    #[serde(default)]
    pub email_verified: bool,
    /// The given name, if WorkOS knows it.
    #[serde(default)]
    pub first_name: Option<String>,
    /// The family name, if WorkOS knows it.
    #[serde(default)]
    pub last_name: Option<String>,
    /// The application's own id of the user, if it has set one.
    #[serde(default)]
    pub external_id: Option<String>,
    /// The URL of a profile picture.
    #[serde(default)]
    pub profile_picture_url: Option<String>,
}

/// One membership in an organization.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Membership {
    pub organization_id: String,
    pub status: Status,
}

/// The status of a membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    Active,
    /// Deactivated: by an administrator, or by a directory.
    Inactive,
    /// Invited, and the invitation not accepted yet.
    Pending,
    /// A status that this release does not know. It grants nothing.
    #[serde(other)]
    Unknown,
}

/// Whether a person with these memberships may come in with a session of the organization
/// `granted`.
///
/// Whoever has a session of an organization must be an active member of it, and whoever asked for
/// one must have got that one. Whoever asked for none comes in, unless they were deactivated
/// wherever they were a member; an invitation that is not accepted keeps nobody out. In an
/// application where everybody has an organization (`required`) they need an active membership.
pub fn may_enter(
    memberships: &[Membership],
    asked_for: Option<&str>,
    granted: Option<&str>,
    required: bool,
) -> bool {
    let inactive = memberships.iter().any(|membership| membership.status == Status::Inactive);
    let mut active = memberships.iter().filter(|membership| membership.status == Status::Active);
    match (asked_for, granted) {
        (Some(_), _) if asked_for != granted => false,
        (_, Some(organization)) => {
            active.any(|membership| membership.organization_id == organization)
        }
        (_, None) => active.next().is_some() || !inactive && !required,
    }
}

#[cfg(test)]
mod tests;
