//! Who has signed in, and whether they may: the user and their memberships as WorkOS describes them
//! (<https://workos.com/docs/authkit/users-organizations>).

use serde::{Deserialize, Serialize};

/// A user, as far as a frontend needs them. Fields beyond these are left at WorkOS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// `user_…`
    pub id: String,
    /// The address they sign in with.
    pub email: String,
    /// Whether they have shown that it is theirs.
    #[serde(default)]
    pub email_verified: bool,
    /// Given name.
    #[serde(default)]
    pub first_name: Option<String>,
    /// Family name.
    #[serde(default)]
    pub last_name: Option<String>,
    /// A picture's address.
    #[serde(default)]
    pub profile_picture_url: Option<String>,
}

/// One membership in an organization.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Membership {
    /// `org_…`
    pub organization_id: String,
    /// What it is worth.
    pub status: Status,
}

/// What a membership is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// A member.
    Active,
    /// Deactivated: by an administrator, or by a directory.
    Inactive,
    /// Invited, and not there yet.
    Pending,
    /// A status that came after this release. It opens nothing.
    #[serde(other)]
    Unknown,
}

/// Whether a person with these memberships may come in.
///
/// Who asked for an organization must be an active member of it. Who asked for none needs one active membership
/// anywhere, unless they have none at all: in an application without organizations nobody has.
pub fn may_enter(memberships: &[Membership], asked_for: Option<&str>) -> bool {
    let mut active = memberships.iter().filter(|membership| membership.status == Status::Active);
    match asked_for {
        Some(organization) => active.any(|membership| membership.organization_id == organization),
        None => memberships.is_empty() || active.next().is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn membership(organization: &str, status: &str) -> Membership {
        serde_json::from_value(serde_json::json!({ "organization_id": organization, "status": status, "role": {} })).expect("readable")
    }

    #[test]
    fn an_active_membership_opens_and_no_other() {
        let (active, inactive, pending) = (membership("org_1", "active"), membership("org_2", "inactive"), membership("org_3", "pending"));
        let new = membership("org_4", "suspended");
        assert_eq!(new.status, Status::Unknown);
        for (memberships, asked_for, open) in [
            (vec![], None, true),
            (vec![active.clone()], None, true),
            (vec![inactive.clone()], None, false),
            (vec![pending.clone()], None, false),
            (vec![new], None, false),
            (vec![inactive.clone(), active.clone()], None, true),
            (vec![active.clone(), inactive.clone()], Some("org_1"), true),
            (vec![active.clone(), inactive.clone()], Some("org_2"), false),
            (vec![active.clone(), pending], Some("org_3"), false),
            (vec![active], Some("org_9"), false),
            (vec![], Some("org_1"), false),
        ] {
            assert_eq!(may_enter(&memberships, asked_for), open, "{memberships:?} asking for {asked_for:?}");
        }
    }
}
