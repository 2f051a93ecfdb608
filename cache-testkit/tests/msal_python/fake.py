"""What the Rust test tells the scripts, and the two applications that they use."""

import os

import msal

BASE = os.environ["FAKE_AUTHORITY"]
CA_FILE = os.environ["FAKE_AUTHORITY_CA"]

HOME_TENANT = "aaaaaaaa-0000-4000-8000-000000000001"
GUEST_TENANT = "bbbbbbbb-0000-4000-8000-000000000002"
PUBLIC_CLIENT = "cccccccc-0000-4000-8000-00000000000a"
CONFIDENTIAL_CLIENT = "dddddddd-0000-4000-8000-00000000000b"
CONFIDENTIAL_SECRET = "canary-client-secret"
FAMILY_CLIENT = "eeeeeeee-0000-4000-8000-00000000000c"
ALICE = "alice@contoso.test"
PASSWORD = "canary-password"
ALICE_HOME_ACCOUNT = "11111111-0000-4000-8000-000000000001." + HOME_TENANT


def public_client(tenant=HOME_TENANT, client_id=PUBLIC_CLIENT, **options):
    options.setdefault("verify", CA_FILE)
    # MSAL would otherwise ask Microsoft whether the host is one of theirs.
    return msal.PublicClientApplication(
        client_id, authority=f"{BASE}/{tenant}", instance_discovery=False, **options)


def confidential_client(credential=CONFIDENTIAL_SECRET, tenant=HOME_TENANT):
    return msal.ConfidentialClientApplication(
        CONFIDENTIAL_CLIENT, client_credential=credential, authority=f"{BASE}/{tenant}",
        instance_discovery=False, verify=CA_FILE)


def granted(result, source=None):
    """The result, if it is a success that came from where it should."""
    assert result, "MSAL returned nothing"
    assert "access_token" in result, f"{result.get('error')}: {result.get('error_description')}"
    if source:
        assert result["token_source"] == source, f"token came from {result['token_source']}, not {source}"
    return result
