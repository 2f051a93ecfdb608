"""Opens what tokenkeep sealed, from the byte tables alone, sharing no code with the crate.

Needs the package `cryptography`. Without input it opens the golden records beside this file and compares the golden partitions of
both codecs; with `-` it opens the key ring and the records of a JSON object on standard input, and writes what is in them:

    python3 decode.py
    python3 decode.py - < records.json
"""

import hashlib
import json
import pathlib
import struct
import sys

import cryptography
from formats import PUBLIC, decrypt, hkdf, location_tag, prefixed, stored_key
from partition import Partition, check

HERE = pathlib.Path(__file__).parent


class Ring:
    def __init__(self, record, kek, namespace):
        magic, version, suite, ring_id, generation, length = struct.unpack_from(">4sBB16sQB", record)
        expect((magic, version, suite), (b"TKKR", 1, 1), "the ring's format")
        at = struct.calcsize(">4sBB16sQB") + length
        (parameters,) = struct.unpack_from(">H", record, at)
        at += 2 + parameters
        commitment, nonce = record[at : at + 32], record[at + 32 : at + 56]
        expect(commitment, hkdf(kek, ring_id, "tokenkeep v1 key-ring commitment"), "the ring's commitment")
        header, sealed = record[: at + 56], record[at + 56 :]
        location = prefixed(namespace, b"keyring", namespace + b"/keyring/ring")
        ring = decrypt(hkdf(kek, ring_id, "tokenkeep v1 key-ring encryption"), nonce, sealed, header + location)
        version, _window, self.location_key, count = struct.unpack_from(">BI32sB", ring)
        expect(version, 1, "the ring's version")
        entry = struct.Struct(">8sBqqqq32s")
        entries = entry.iter_unpack(ring[struct.calcsize(">BI32sB") :])
        self.keys = {fields[0]: fields[-1] for fields in entries}
        expect(len(self.keys), count, "the number of keys")
        self.generation, self.namespace = generation, namespace

    def open(self, record, kind, logical):
        """The place, the metadata and the payload of a sealed record."""
        place = stored_key(self.location_key, self.namespace, kind, logical)
        location = prefixed(self.namespace, kind, place)
        magic, version, suite, *meta = struct.unpack_from(">4sBBBH16sQ", record)
        expect((magic, version, suite), (b"TKSR", 1, 1), "the record's format")
        key_id, commitment, tag, nonce, length = struct.unpack_from(">8s32s16s24sI", record, 33)
        key = self.keys[key_id]
        expect(commitment, hkdf(key, b"", "tokenkeep v1 key commitment"), "the record's commitment")
        expect(tag, location_tag(self.location_key, location), "the record's location tag")
        expect(len(record), 117 + length + 16, "the record's length")
        payload = decrypt(hkdf(key, b"", "tokenkeep v1 record encryption"), nonce, record[117:], record[:117] + location)
        return place, meta, payload


def open_unsealed(record, namespace, kind, logical):
    place = stored_key(PUBLIC, namespace, kind, logical)
    location = prefixed(namespace, kind, place)
    magic, version, *meta = struct.unpack_from(">4sBBH16sQ", record)
    expect((magic, version), (b"TKPT", 1), "the record's format")
    header, digest, payload = record[:48], record[48:64], record[64:]
    expect(header[32:], location_tag(PUBLIC, location), "the record's location tag")
    expect(digest, hashlib.sha256(header + location + payload).digest()[:16], "the record's hash")
    return place, meta, payload


def expect(found, expected, what):
    if found != expected:
        raise ValueError(f"{what} is {found!r}, not {expected!r}")


def golden():
    read = lambda name: bytes.fromhex((HERE / name).read_text())
    expected = ([1, 2, b"incarnation of a", 3], b"golden payload")
    ring = Ring(read("ring.hex"), bytes([0x11]) * 32, b"golden")
    expect(ring.open(read("record.hex"), b"user", b"alice")[1:], expected, "the sealed record")
    opened = open_unsealed(read("plaintext.hex"), b"golden.plaintext", b"user", b"alice")
    expect(opened[1:], expected, "the unsealed record")
    names = ["user", "session", "app"]
    for name in names:
        folder = HERE.parent / "golden"
        check(bytes.fromhex((folder / f"{name}_v1.hex").read_text()), (folder / f"{name}_v1.json").read_text())
    return {"records": 3, "partitions": len(names)}


def given(request):
    """Opens the records of a request; a payload of codec 1 is read to its last row."""
    unhex = bytes.fromhex
    ring = Ring(unhex(request["ring"]), unhex(request["kek"]), request["namespace"].encode())
    answers = []
    for record in request["records"]:
        place, meta, payload = ring.open(unhex(record["record"]), record["kind"].encode(), unhex(record["logical"]))
        expect(place.decode(), record["key"], "the record's place")
        if meta[0] == 1 and record["kind"] in ("user", "app", "session"):
            partition = Partition(payload)
            expect(partition.key, unhex(record["logical"]), "the partition's key")
        answers.append({"payload": payload.hex(), "generation": meta[3]})
    return {"records": answers, "keys": len(ring.keys), "ring": ring.generation}


answer = given(json.load(sys.stdin)) if sys.argv[1:] == ["-"] else golden()
print(json.dumps({**answer, "cryptography": cryptography.__version__}))
