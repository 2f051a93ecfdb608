"""Reads a partition as codec 1 writes it (bincode's standard format), into the rows that codec 2 writes as JSON."""

import base64
import json
import struct


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def bytes(self, length):
        if self.at + length > len(self.data):
            raise ValueError("the bytes end too early")
        self.at += length
        return self.data[self.at - length : self.at]

    def unsigned(self):
        first = self.bytes(1)[0]
        wide = {0xFB: "<H", 0xFC: "<I", 0xFD: "<Q"}.get(first)
        if wide is None:
            if first > 0xFA:
                raise ValueError("an integer is wider than 64 bits")
            return first
        return struct.unpack(wide, self.bytes(struct.calcsize(wide)))[0]

    def signed(self):
        """Zigzag: the sign is the lowest bit."""
        number = self.unsigned()
        return number >> 1 if number & 1 == 0 else -(number >> 1) - 1

    def byte(self):
        return self.bytes(1)[0]

    def flag(self):
        value = self.byte()
        if value > 1:
            raise ValueError("neither true nor false")
        return value == 1

    def blob(self):
        return self.bytes(self.unsigned())

    def text(self):
        return self.blob().decode()

    def json(self):
        return json.loads(self.text())

    def fixed(self, length):
        return lambda: self.bytes(length)

    def option(self, read):
        return read() if self.flag() else None

    def list(self, read):
        return [read() for _ in range(self.unsigned())]


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def present(**fields):
    return {name: value for name, value in fields.items() if value is not None}


def time(value):
    return None if value is None else str(value)


class Partition(Reader):
    """The whole of it: `document` is what the JSON codec writes, with the rows of each section as a list without names."""

    def __init__(self, data):
        super().__init__(data)
        key = self.blob()
        sections = {
            "Account": self.list(self.account),
            "IdToken": self.list(self.id_token),
            "AccessToken": self.list(self.access_token),
            "RefreshToken": self.list(self.refresh_token),
            "AppMetadata": self.list(self.app_metadata),
        }
        own = {"partition_key": base64url(key)}
        own["epochs"] = self.list(lambda: {"client_id": self.text(), "epoch": base64url(self.bytes(16))})
        own["sessions"] = self.list(lambda: {"key": base64url(self.blob()), "expires_at_ms": self.signed()})
        anchor = self.option(lambda: {"user": base64url(self.blob()), "epoch": base64url(self.bytes(16))})
        own.update(present(anchor=anchor))
        residue = dict(self.list(lambda: (self.text(), self.json())))
        if self.at != len(data):
            raise ValueError("bytes follow the partition")
        self.key, self.residue = key, residue
        self.sections = {name: rows for name, rows in sections.items() if rows}
        self.own = own

    def foreign(self, row):
        """Unknown fields, and known ones that the row was without."""
        foreign = self.option(lambda: (self.option(self.text), self.json(), self.list(self.text)))
        if foreign:
            _, fields, absent = foreign
            row.update(fields)
            for name in absent:
                row.pop(name, None)
        return row

    def account(self):
        row = dict(home_account_id=self.text(), environment=self.text(), realm=self.text())
        row.update(local_account_id=self.text(), username=self.text(), authority_type=self.text())
        row.update(present(name=self.option(self.text), issuer=self.option(self.text)))
        profiles = self.list(self.profile)
        if profiles:
            row["tenantProfiles"] = profiles
        return self.foreign(row)

    def profile(self):
        row = dict(tenantId=self.text(), localAccountId=self.text())
        row.update(present(name=self.option(self.text), username=self.option(self.text)))
        row["isHomeTenant"] = self.flag()
        return self.foreign(row)

    def id_token(self):
        row = dict(credential_type="IdToken", home_account_id=self.text(), environment=self.text())
        row.update(realm=self.text(), client_id=self.text(), secret=self.text())
        return self.foreign(row)

    def access_token(self):
        row = dict(home_account_id=self.text(), environment=self.text(), client_id=self.text())
        row.update(realm=self.text(), target=self.text())
        if self.unsigned() == 0:
            row.update(credential_type="AccessToken", token_type="Bearer")
        else:
            row.update(credential_type="AccessToken_With_AuthScheme", token_type=self.text(), key_id=self.text())
        row.update(secret=self.text(), cached_at=time(self.signed()), expires_on=time(self.signed()))
        row.update(present(extended_expires_on=time(self.option(self.signed))))
        row.update(present(refresh_on=time(self.option(self.signed))))
        own = present(resource=self.option(self.text), cae=self.flag() or None)
        row.update(present(userAssertionHash=self.option(self.text)))
        components = dict(self.list(lambda: (self.text(), self.text())))
        own.update(present(components=components or None))
        row.update(present(TokenKeep=own or None))
        return self.foreign(row)

    def refresh_token(self):
        row = dict(credential_type="RefreshToken", home_account_id=self.text(), environment=self.text())
        row.update(client_id=self.text(), **present(family_id=self.option(self.text), target=self.option(self.text)))
        row["secret"] = self.text()
        row.update(present(last_modification_time=time(self.option(self.signed))))
        row.update(present(expires_on=time(self.option(self.signed))))
        own = present(spending=self.option(self.marker), refusals=self.list(self.refusal) or None)
        row.update(present(TokenKeep=own or None))
        return self.foreign(row)

    def marker(self):
        row = dict(token_hash=base64url(self.bytes(32)), attempt=base64url(self.bytes(16)))
        row.update(deadline_ms=self.signed(), attempts=self.byte(), outcome_unknown=self.flag())
        return row

    def refusal(self):
        request = self.option(self.fixed(16))
        row = present(request=None if request is None else base64url(request), error=self.text())
        row.update(present(suberror=self.option(self.text), claims=self.option(self.text)))
        row["refused_at"] = time(self.signed())
        return row

    def app_metadata(self):
        row = dict(client_id=self.text(), environment=self.text())
        row.update(present(family_id=self.option(self.text)))
        return self.foreign(row)


def check(data, text):
    """Raises unless the partition in `data` is the one that the JSON codec wrote as `text`."""
    partition, document = Partition(data), json.loads(text)
    written = document.pop("TokenKeep")
    for name in ("partition_key", "epochs", "sessions", "anchor"):
        expect(partition.own.get(name), written.get(name), name)
    rows = {}
    for section, named in document.items():
        if section in partition.residue:
            expect(partition.residue[section], named, section)
        else:
            rows[section] = [with_profiles(row) for row in named.values()]
    expect(partition.residue.get("", {}), written.get("residue", {}).get("", {}), "members that are no sections")
    expect(set(partition.sections), set(rows), "sections")
    for section, expected in rows.items():
        expect(ordered(partition.sections[section]), ordered(expected), section)


def with_profiles(row):
    profiles = row.get("tenantProfiles")
    return row if profiles is None else {**row, "tenantProfiles": [json.loads(profile) for profile in profiles]}


def ordered(rows):
    return sorted(rows, key=lambda row: json.dumps(row, sort_keys=True))


def expect(found, expected, what):
    if found != expected:
        raise ValueError(f"{what}: the binary codec has {found!r}, the JSON codec {expected!r}")
