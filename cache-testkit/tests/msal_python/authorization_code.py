"""Authorization code with PKCE, state and nonce; this script is the browser. Then a family's token."""

from urllib.parse import parse_qsl, urlsplit

import requests
from fake import ALICE, CA_FILE, FAMILY_CLIENT, confidential_client, granted, public_client


def sign_in(app, redirect_uri):
    flow = app.initiate_auth_code_flow(["User.Read"], redirect_uri=redirect_uri, login_hint=ALICE)
    page = requests.get(flow["auth_uri"], verify=CA_FILE, allow_redirects=False, timeout=10)
    assert page.status_code == 302, page.text
    answer = dict(parse_qsl(urlsplit(page.headers["location"]).query))
    return granted(app.acquire_token_by_auth_code_flow(flow, answer), "identity_provider")


for app in (public_client(), confidential_client()):
    result = sign_in(app, "http://localhost:4711/callback")
    assert result["id_token_claims"]["preferred_username"] == ALICE, result["id_token_claims"]
    (account,) = app.get_accounts()
    granted(app.acquire_token_silent(["User.Read"], account), "cache")
    refreshed = granted(app.acquire_token_silent(["User.Read"], account, force_refresh=True))
    assert refreshed["access_token"] != result["access_token"]

family = public_client(client_id=FAMILY_CLIENT)
sign_in(family, "http://localhost")
sibling = public_client(
    client_id="eeeeeeee-0000-4000-8000-00000000000d", token_cache=family.token_cache)
(account,) = family.get_accounts()
granted(sibling.acquire_token_silent(["User.Read"], account), "identity_provider")
