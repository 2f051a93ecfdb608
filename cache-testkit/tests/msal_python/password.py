"""Resource owner password credentials, accepted and refused."""

from urllib.parse import urlsplit

import requests
from fake import ALICE, BASE, CA_FILE, PASSWORD, granted, public_client


class PortKeepingSession(requests.Session):
    """MSAL drops the port when it asks for the realm of a user: put it back."""

    def get(self, url, **options):
        portless = f"https://{urlsplit(BASE).hostname}/"
        if url.startswith(portless):
            url = f"{BASE}/{url[len(portless):]}"
        return super().get(url, **options)


session = PortKeepingSession()
session.verify = CA_FILE
app = public_client(http_client=session, verify=None)

refused = app.acquire_token_by_username_password(ALICE, "wrong", ["User.Read"])
assert refused["error"] == "invalid_grant", refused
assert refused["error_codes"] == [50126], refused

granted(app.acquire_token_by_username_password(ALICE, PASSWORD, ["User.Read"]), "identity_provider")
(account,) = app.get_accounts(username=ALICE)
granted(app.acquire_token_silent(["User.Read"], account), "cache")
