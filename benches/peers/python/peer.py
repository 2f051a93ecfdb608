"""MSAL Python, measured from within: it reads a command a line (JSON) from its standard input and answers each with a line. It ends with its input.

Times are nanoseconds of `time.perf_counter_ns` around the loop alone. Nothing is asked over a network: the one document that MSAL
always fetches is answered here, and a request for anything else is an error.
"""

import json
import sys
import time
from importlib.metadata import version

import msal

caches = {}


class Answer:
    def __init__(self, document):
        self.status_code = 200
        self.headers = {}
        self.text = json.dumps(document)

    def raise_for_status(self):
        pass


class Nobody:
    """An HTTP client that knows an authority's metadata, and nobody else."""

    def __init__(self):
        self.unexpected = 0

    def get(self, url, **_):
        ending = "/v2.0/.well-known/openid-configuration"
        if not url.endswith(ending):
            return self.post(url)
        authority = url[: -len(ending)]
        return Answer(
            {
                "issuer": f"{authority}/v2.0",
                "authorization_endpoint": f"{authority}/oauth2/v2.0/authorize",
                "token_endpoint": f"{authority}/oauth2/v2.0/token",
            }
        )

    def post(self, url, **_):
        self.unexpected += 1
        raise RuntimeError(f"a request was made: {url}")

    def close(self):
        pass


class Filled:
    """An application with a cache, and what it is asked for."""

    def __init__(self, command):
        with open(command["file"], encoding="utf-8") as file:
            self.text = file.read()
        self.cache = msal.SerializableTokenCache()
        self.cache.deserialize(self.text)
        self.nobody = Nobody()
        self.scopes = [list(scopes) for scopes in command["scopes"]]
        options = {
            "authority": command["authority"],
            "instance_discovery": False,
            "http_client": self.nobody,
            "token_cache": self.cache,
        }
        if command["secret"]:
            self.application = msal.ConfidentialClientApplication(
                command["client"], client_credential=command["secret"], **options
            )
        else:
            self.application = msal.PublicClientApplication(command["client"], **options)
        accounts = {known["home_account_id"]: known for known in self.application.get_accounts()}
        self.accounts = [accounts[asked["homeAccountId"]] for asked in command["accounts"]]

    def silent(self, indices):
        acquire, accounts, scopes = self.application.acquire_token_silent, self.accounts, self.scopes[0]
        begin = time.perf_counter_ns()
        for index in indices:
            found = acquire(scopes, accounts[index])
        return time.perf_counter_ns() - begin, found["access_token"]

    def application_token(self, indices):
        acquire, scopes = self.application.acquire_token_for_client, self.scopes
        begin = time.perf_counter_ns()
        for index in indices:
            found = acquire(scopes[index])
        return time.perf_counter_ns() - begin, found["access_token"]

    def parse(self, indices):
        begin = time.perf_counter_ns()
        for _ in indices:
            msal.SerializableTokenCache().deserialize(self.text)
        return time.perf_counter_ns() - begin, ""

    def serialise(self, indices):
        begin = time.perf_counter_ns()
        for _ in indices:
            text = self.cache.serialize()
        return time.perf_counter_ns() - begin, "" if len(text) * 2 > len(self.text) else "too short"


def load(command):
    caches[command["cache"]] = Filled(command)
    return {}


def forget(command):
    del caches[command["cache"]]
    return {}


def measure(command):
    filled = caches[command["cache"]]
    nanoseconds, last = getattr(filled, command["operation"])(command["indices"])
    return {"nanoseconds": nanoseconds, "last": last, "requests": filled.nobody.unexpected}


COMMANDS = {"load": load, "forget": forget, "measure": measure}


def say(answer):
    print(json.dumps(answer), flush=True)


say({"ready": f"MSAL Python {version('msal')}, Python {sys.version.split()[0]}"})
for line in sys.stdin:
    asked = json.loads(line)
    try:
        say({"ok": COMMANDS[asked["command"]](asked)})
    except Exception as error:  # What MSAL raises is an answer too.
        say({"error": f"{type(error).__name__}: {error}"})
