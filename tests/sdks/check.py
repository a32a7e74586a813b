"""Reads every answer of the stand-in for WorkOS with WorkOS's own Python library, which fails at a member that is missing."""
import json
import sys

from workos import WorkOSClient
from workos.session import seal_session_from_auth_response

given = json.load(sys.stdin)
workos = WorkOSClient(api_key=given["key"], client_id=given["client_id"], base_url=given["url"] + "/", max_retries=0)
users = workos.user_management

code = users.get_magic_auth(given["magic_auth_id"])
assert code.code == given["code"], "another code"

signed_in = users.authenticate_with_code(code=given["authorization_code"], code_verifier=given["code_verifier"])
renewed = users.authenticate_with_refresh_token(refresh_token=signed_in.refresh_token, organization_id="org_2")
assert renewed.organization_id == "org_2", "another organization"

memberships = workos.organization_membership.list_organization_memberships(
    user_id=signed_in.user.id, statuses=["active", "inactive"])
assert len(memberships.data) == 3, f"{len(memberships.data)} memberships"

events = workos.events.list_events(events=["magic_auth.created"])
assert len(events.data) == 1, f"{len(events.data)} events"

webhook = workos.webhooks.verify_event(
    event_body=given["webhook"].encode(), event_signature=given["signature"], secret=given["secret"])
assert given["magic_auth_id"] in json.dumps(webhook if isinstance(webhook, dict) else webhook.to_dict()), "another event"

keys = users.get_jwks(given["client_id"])
assert keys.keys, "no keys"

# The library fetches the key set, and checks the token with it.
password = "A" * 43 + "="
sealed = seal_session_from_auth_response(
    access_token=renewed.access_token, refresh_token=renewed.refresh_token, user=renewed.user.to_dict(),
    cookie_password=password)
told = users.authenticate_with_session_cookie(session_data=sealed, cookie_password=password)
assert told.authenticated, f"the session is not accepted: {told}"
print("read everything")
