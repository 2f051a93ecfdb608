"""Device code, then silently from the cache, then silently by a refresh, then in the guest tenant."""

import time

from fake import ALICE, ALICE_HOME_ACCOUNT, GUEST_TENANT, HOME_TENANT, granted, public_client

SCOPES = ["User.Read"]
# The Rust test issues tokens of 304 seconds; MSAL takes one for expired 300 seconds before its time.
USABLE_SECONDS = 4

app = public_client()
flow = app.initiate_device_flow(SCOPES)
assert "user_code" in flow, flow
assert flow["user_code"] in flow["message"], flow
started = time.time()
first = granted(app.acquire_token_by_device_flow(flow), "identity_provider")
assert first["id_token_claims"]["preferred_username"] == ALICE, first["id_token_claims"]
assert first["id_token_claims"]["tid"] == HOME_TENANT, first["id_token_claims"]

(account,) = app.get_accounts()
assert account["username"] == ALICE, account
assert account["home_account_id"] == ALICE_HOME_ACCOUNT, account

cached = granted(app.acquire_token_silent(SCOPES, account), "cache")
assert cached["access_token"] == first["access_token"]

time.sleep(max(0, started + USABLE_SECONDS + 1.5 - time.time()))
refreshed = granted(app.acquire_token_silent(SCOPES, account), "identity_provider")
assert refreshed["access_token"] != first["access_token"]

guest = public_client(GUEST_TENANT, token_cache=app.token_cache)
(account,) = guest.get_accounts()
elsewhere = granted(guest.acquire_token_silent(SCOPES, account), "identity_provider")
assert elsewhere["id_token_claims"]["tid"] == GUEST_TENANT, elsewhere["id_token_claims"]
assert elsewhere["id_token_claims"]["oid"] != first["id_token_claims"]["oid"]
