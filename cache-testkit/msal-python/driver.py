"""A program with MSAL Python whose cache is in a file or an item of the Secret Service by msal-extensions, or in memory. It reads a command a line (JSON) from its
standard input, and answers each with a line. It ends with its input."""

import json
import os
import sys

import msal
from msal_extensions import FilePersistence, LibsecretPersistence, PersistedTokenCache

AUTHORITY = os.environ["AUTHORITY"]
CLIENT_ID = os.environ["CLIENT_ID"]
CLIENT_SECRET = os.environ.get("CLIENT_SECRET")
CACHE_FILE = os.environ.get("CACHE_FILE")
CACHE_ITEM = os.environ.get("CACHE_ITEM")


def persistence():
    if not CACHE_ITEM:
        return FilePersistence(CACHE_FILE)
    name = json.loads(CACHE_ITEM)
    return LibsecretPersistence(CACHE_FILE, schema_name=name.get("schema"), attributes=name.get("attributes"))


def application():
    cache = PersistedTokenCache(persistence()) if CACHE_FILE else msal.SerializableTokenCache()
    options = {
        "authority": AUTHORITY,
        # MSAL would otherwise ask Microsoft whether the host is one of theirs.
        "instance_discovery": False,
        "token_cache": cache,
        "verify": os.environ["CA_FILE"],
    }
    if CLIENT_SECRET:
        return msal.ConfidentialClientApplication(CLIENT_ID, client_credential=CLIENT_SECRET, **options)
    return msal.PublicClientApplication(CLIENT_ID, **options)


app = application()


class Refused(Exception):
    pass


def shown(result):
    if not result:
        raise Refused("nothing")
    if "access_token" not in result:
        raise Refused(result.get("error", "nothing"))
    return {"accessToken": result["access_token"], "fromCache": result["token_source"] == "cache"}


def account(home_account_id):
    found = [known for known in app.get_accounts() if known["home_account_id"] == home_account_id]
    return found[0] if found else None


def restart(_):
    global app
    app = application()
    return {}


def device_code(command):
    flow = app.initiate_device_flow(command["scopes"])
    answer = shown(app.acquire_token_by_device_flow(flow))
    known = app.get_accounts()[0]
    return {**answer, "homeAccountId": known["home_account_id"], "username": known["username"]}


def silent(command):
    found = account(command["homeAccountId"])
    if not found:
        return {"noAccount": True}
    force = bool(command.get("forceRefresh"))
    answer = shown(app.acquire_token_silent_with_error(command["scopes"], found, force_refresh=force))
    return {**answer, "homeAccountId": found["home_account_id"], "username": found["username"]}


def sign_out(command):
    app.remove_account(account(command["homeAccountId"]))
    return {}


COMMANDS = {
    "restart": restart,
    "app": lambda command: shown(app.acquire_token_for_client(command["scopes"])),
    "deviceCode": device_code,
    "accounts": lambda _: [known["username"] for known in app.get_accounts()],
    "silent": silent,
    "signOut": sign_out,
}


def say(answer):
    print(json.dumps(answer), flush=True)


say({"ready": True})
for line in sys.stdin:
    asked = json.loads(line)
    try:
        say({"ok": COMMANDS[asked["command"]](asked)})
    except Refused as refused:
        say({"error": str(refused)})
    except Exception as error:  # What MSAL raises is an answer too.
        say({"error": f"{type(error).__name__}: {error}"})
