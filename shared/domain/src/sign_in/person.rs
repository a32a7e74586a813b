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
/// one must have got that one. Whoever asked for none needs one active membership anywhere, unless
/// they have none at all: in an application without organizations nobody has.
pub fn may_enter(
    memberships: &[Membership],
    asked_for: Option<&str>,
    granted: Option<&str>,
) -> bool {
    let mut active = memberships.iter().filter(|membership| membership.status == Status::Active);
    match (asked_for, granted) {
        (Some(_), _) if asked_for != granted => false,
        (_, Some(organization)) => {
            active.any(|membership| membership.organization_id == organization)
        }
        (_, None) => memberships.is_empty() || active.next().is_some(),
    }
}

#[cfg(test)]
mod tests;
