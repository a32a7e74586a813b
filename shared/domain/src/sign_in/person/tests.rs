//! Unit tests of the parent module.

use super::*;

fn membership(organization: &str, status: &str) -> Membership {
    serde_json::from_value(
        serde_json::json!({ "organization_id": organization, "status": status, "role": {} }),
    )
    .expect("readable")
}

#[test]
fn an_active_membership_opens_and_no_other() {
    let (active, inactive, pending) = (
        membership("org_1", "active"),
        membership("org_2", "inactive"),
        membership("org_3", "pending"),
    );
    let new = membership("org_4", "suspended");
    assert_eq!(new.status, Status::Unknown);
    for (memberships, asked_for, granted, open) in [
        (vec![], None, None, true),
        (vec![active.clone()], None, None, true),
        (vec![inactive.clone()], None, None, false),
        (vec![pending.clone()], None, None, true),
        (vec![new], None, None, true),
        (vec![pending.clone(), inactive.clone()], None, None, false),
        (vec![inactive.clone(), active.clone()], None, None, true),
        (vec![active.clone(), inactive.clone()], Some("org_1"), Some("org_1"), true),
        (vec![active.clone(), inactive.clone()], None, Some("org_1"), true),
        (vec![active.clone(), inactive.clone()], None, Some("org_2"), false),
        (vec![active.clone(), inactive.clone()], Some("org_1"), Some("org_2"), false),
        (vec![active.clone(), inactive.clone()], Some("org_1"), None, false),
        (vec![], None, Some("org_1"), false),
        (vec![active.clone(), inactive.clone()], Some("org_2"), Some("org_2"), false),
        (vec![active.clone(), pending], Some("org_3"), Some("org_3"), false),
        (vec![active], Some("org_9"), Some("org_9"), false),
        (vec![], Some("org_1"), Some("org_1"), false),
    ] {
        assert_eq!(
            may_enter(&memberships, asked_for, granted, false),
            open,
            "{memberships:?} asking for {asked_for:?}, granted {granted:?}"
        );
    }
}

#[test]
fn where_everybody_has_an_organization_one_is_needed() {
    for (status, open) in
        [("active", true), ("pending", false), ("inactive", false), ("suspended", false)]
    {
        assert_eq!(may_enter(&[membership("org_1", status)], None, None, true), open, "{status}");
    }
    assert!(!may_enter(&[], None, None, true));
}
