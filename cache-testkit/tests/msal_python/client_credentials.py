"""Tokens for the application itself, proved by a secret and by a certificate; then on behalf of a user."""

import os

from fake import (
    ALICE, CONFIDENTIAL_CLIENT, PASSWORD, confidential_client, granted)

SCOPES = ["https://graph.microsoft.com/.default"]

with open(os.environ["CLIENT_KEY_FILE"]) as key, open(os.environ["CLIENT_CERTIFICATE_FILE"]) as certificate:
    by_certificate = {"private_key": key.read(), "public_certificate": certificate.read()}

for credential in ("canary-client-secret", by_certificate):
    app = confidential_client(credential)
    first = granted(app.acquire_token_for_client(SCOPES), "identity_provider")
    second = granted(app.acquire_token_for_client(SCOPES), "cache")
    assert first["access_token"] == second["access_token"]

refused = confidential_client("wrong").acquire_token_for_client(SCOPES)
assert refused["error"] == "invalid_client", refused
assert refused["error_codes"] == [7000215], refused
assert refused["correlation_id"], refused

# A token for this service, which a front end would hold, becomes one for the next service.
front_end = confidential_client()
for_service = granted(front_end.client.obtain_token_by_username_password(
    ALICE, PASSWORD, scope=[f"api://{CONFIDENTIAL_CLIENT}/access"]))
service = confidential_client()
granted(service.acquire_token_on_behalf_of(for_service["access_token"], ["User.Read"]), "identity_provider")
(account,) = service.get_accounts(username=ALICE)
granted(service.acquire_token_silent(["User.Read"], account), "cache")
