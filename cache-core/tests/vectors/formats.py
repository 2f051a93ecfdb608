"""The building blocks of tokenkeep's records, from the byte tables of `seal::format` and the C2SP specification alone.

Needs the package `cryptography`. It shares no code with the crate, and nothing with what the crate is built from.
"""

import base64
import hashlib
import hmac
import struct

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

PUBLIC = b"tokenkeep public location key v1"


def mac(key, data):
    return hmac.new(key, data, hashlib.sha256).digest()


def hkdf(key, salt, info):
    extracted = mac(salt or bytes(32), key)
    return mac(extracted, info.encode() + b"\x01")


def xaes(key, nonce):
    """XAES-256-GCM for one nonce: AES-256-GCM under a key that is derived from the first half of the nonce."""

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
    return AESGCM(derived)


def encrypt(key, nonce, plaintext, aad):
    return xaes(key, nonce).encrypt(nonce[12:], plaintext, aad)


def decrypt(key, nonce, sealed, aad):
    return xaes(key, nonce).decrypt(nonce[12:], sealed, aad)


def prefixed(*parts):
    return b"".join(struct.pack(">I", len(part)) + part for part in parts)


def stored_key(location_key, namespace, kind, logical):
    name = mac(hkdf(location_key, b"", "tokenkeep v1 stored key"), prefixed(kind) + logical)
    return namespace + b"/" + kind + b"/" + base64.urlsafe_b64encode(name).rstrip(b"=")


def location_tag(location_key, location):
    return mac(hkdf(location_key, b"", "tokenkeep v1 location tag"), location)[:16]
