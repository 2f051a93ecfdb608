"""Makes the golden records of `seal_vectors.rs` from the byte tables alone, sharing no code with the crate.

Needs the package `cryptography`. Writes ring.hex, record.hex and plaintext.hex beside this file:

    python3 golden.py

The vectors are frozen: a change in what this writes is a change of the format, which needs a new format version.
"""

import base64
import hashlib
import hmac
import pathlib
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = pathlib.Path(__file__).parent
counter = 0


def random(length, seed=1):
    global counter
    out = b""
    while len(out) < length:
        out += hashlib.sha256(struct.pack(">QQ", seed, counter)).digest()
        counter += 1
    return out[:length]


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(key, salt, info):
    extracted = mac(salt or bytes(32), key)
    return mac(extracted, info.encode() + b"\x01")


def xaes(key, nonce, plaintext, aad):
    def block(data):
        return Cipher(algorithms.AES(key), modes.ECB()).encryptor().update(data)

    l = int.from_bytes(block(bytes(16)), "big")
    k1 = (l << 1) & (2**128 - 1)
    if l >> 127:
        k1 ^= 0b10000111
    derived = b""
    for number in (1, 2):
        m = bytes([0, number]) + b"X\x00" + nonce[:12]
        derived += block((int.from_bytes(m, "big") ^ k1).to_bytes(16, "big"))
    return AESGCM(derived).encrypt(nonce[12:], plaintext, aad)


def prefixed(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def stored_key(location_key, namespace, kind, logical):
    name = mac(hkdf(location_key, b"", "tokenkeep v1 stored key"), prefixed(kind) + logical)
    return namespace + b"/" + kind + b"/" + base64.urlsafe_b64encode(name).rstrip(b"=")


def location_tag(location_key, location):
    return mac(hkdf(location_key, b"", "tokenkeep v1 location tag"), location)[:16]


META = dict(codec=1, schema=2, incarnation=b"incarnation of a", generation=3)
PAYLOAD = b"golden payload"
NOT_YET = -(2**63)


def meta():
    return struct.pack(">BH16sQ", META["codec"], META["schema"], META["incarnation"], META["generation"])


# The key ring.
kek = bytes([0x11]) * 32
ring_id, location_key, key_id, key = random(16), random(32), random(8), random(32)
now = 1_700_000_000
ring = struct.pack(">BI32sB", 1, 60, location_key, 1)
ring += struct.pack(">8sBqqqq32s", key_id, 2, now, now, NOT_YET, NOT_YET, key)
nonce = random(24)
header = struct.pack(">4sBB16sQB5sH", b"TKKR", 1, 1, ring_id, 1, 5, b"fixed", 0)
header += hkdf(kek, ring_id, "tokenkeep v1 key-ring commitment") + nonce
location = prefixed(b"golden", b"keyring", b"golden/keyring/ring")
sealed = xaes(hkdf(kek, ring_id, "tokenkeep v1 key-ring encryption"), nonce, ring, header + location)
(HERE / "ring.hex").write_text((header + sealed).hex() + "\n")

# A sealed record.
place = stored_key(location_key, b"golden", b"user", b"alice")
location = prefixed(b"golden", b"user", place)
nonce = random(24)
header = b"TKSR\x01\x01" + meta() + key_id + hkdf(key, b"", "tokenkeep v1 key commitment")
header += location_tag(location_key, location) + nonce + struct.pack(">I", len(PAYLOAD))
sealed = xaes(hkdf(key, b"", "tokenkeep v1 record encryption"), nonce, PAYLOAD, header + location)
(HERE / "record.hex").write_text((header + sealed).hex() + "\n")
print("sealed record at", place.decode())

# An unsealed record.
public = b"tokenkeep public location key v1"
place = stored_key(public, b"golden.plaintext", b"user", b"alice")
location = prefixed(b"golden.plaintext", b"user", place)
header = b"TKPT\x01" + meta() + location_tag(public, location)
header += hashlib.sha256(header + location + PAYLOAD).digest()[:16]
(HERE / "plaintext.hex").write_text((header + PAYLOAD).hex() + "\n")
print("unsealed record at", place.decode())
