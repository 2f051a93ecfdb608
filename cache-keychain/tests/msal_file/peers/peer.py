"""A program that locks as MSAL Python does, or as MSAL Go and .NET do; driven line by line.

Arguments: the protocol, the directory with msal-extensions, the cache file.
"""
import fcntl
import importlib.util
import json
import os
import sys
import time

protocol, packages, path = sys.argv[1:4]
lock_path = path + ".lockfile"


class FlockOnly:
    """What MSAL Go does: flock on a file that is opened anew for each try, and removed at the end."""

    def __enter__(self):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            self.fd = os.open(lock_path, os.O_CREAT | os.O_RDWR, 0o600)
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.write(self.fd, b"{%d} {peer}" % os.getpid())
                return self
            except BlockingIOError:
                os.close(self.fd)
                time.sleep(0.01)
        raise TimeoutError("no lock")

    def __exit__(self, *args):
        fcntl.flock(self.fd, fcntl.LOCK_UN)
        os.close(self.fd)
        try:
            os.remove(lock_path)
        except FileNotFoundError:
            pass


def new_lock():
    if protocol == "flock":
        return FlockOnly()
    name = {"portalocker": "cache_lock", "existence": "filelock"}[protocol]
    # The module alone: the package would want all of MSAL.
    sys.path.insert(0, packages)
    spec = importlib.util.spec_from_file_location(name, os.path.join(packages, "msal_extensions", name + ".py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CrossPlatLock(lock_path)


def add(name):
    document = {}
    if os.path.exists(path):
        with open(path) as file:
            document = json.loads(file.read() or "{}")
    document.setdefault("RefreshToken", {})[name] = {"secret": name}
    text = json.dumps(document)
    # As msal_extensions' FilePersistence writes, only slower.
    with os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600), "w+") as file:
        time.sleep(0.002)
        file.write(text[: len(text) // 2])
        file.flush()
        time.sleep(0.002)
        file.write(text[len(text) // 2 :])


held = None
print("ready", flush=True)
for line in sys.stdin:
    command, _, argument = line.strip().partition(" ")
    try:
        if command == "lock":
            held = new_lock()
            held.__enter__()
        elif command == "unlock":
            held.__exit__(None, None, None)
        elif command == "add":
            with new_lock():
                add(argument)
        print("done", flush=True)
    except Exception as error:
        print("failed", repr(error), flush=True)
