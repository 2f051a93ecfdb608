"""Makes the golden records of `seal_vectors.rs` from the byte tables alone, sharing no code with the crate.

Needs the package `cryptography`. Writes ring.hex, record.hex and plaintext.hex beside this file:

    python3 golden.py

The vectors are frozen: a change in what this writes is a change of the format, which needs a new format version.
"""

import hashlib
import pathlib
import struct

from formats import PUBLIC, encrypt, hkdf, location_tag, prefixed, stored_key

HERE = pathlib.Path(__file__).parent
counter = 0


def random(length, seed=1):
    global counter
    out = b""
    while len(out) < length:
        out += hashlib.sha256(struct.pack(">QQ", seed, counter)).digest()
        counter += 1
    return out[:length]


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
sealed = encrypt(hkdf(kek, ring_id, "tokenkeep v1 key-ring encryption"), nonce, ring, header + location)
(HERE / "ring.hex").write_text((header + sealed).hex() + "\n")

# A sealed record.
place = stored_key(location_key, b"golden", b"user", b"alice")
location = prefixed(b"golden", b"user", place)
nonce = random(24)
header = b"TKSR\x01\x01" + meta() + key_id + hkdf(key, b"", "tokenkeep v1 key commitment")
header += location_tag(location_key, location) + nonce + struct.pack(">I", len(PAYLOAD))
sealed = encrypt(hkdf(key, b"", "tokenkeep v1 record encryption"), nonce, PAYLOAD, header + location)
(HERE / "record.hex").write_text((header + sealed).hex() + "\n")
print("sealed record at", place.decode())

# An unsealed record.
place = stored_key(PUBLIC, b"golden.plaintext", b"user", b"alice")
location = prefixed(b"golden.plaintext", b"user", place)
header = b"TKPT\x01" + meta() + location_tag(PUBLIC, location)
header += hashlib.sha256(header + location + PAYLOAD).digest()[:16]
(HERE / "plaintext.hex").write_text((header + PAYLOAD).hex() + "\n")
print("unsealed record at", place.decode())
