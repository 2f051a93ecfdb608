//! The bytes of records, for whoever writes another reader.
//!
//! All integers are big-endian. `‖` joins; "its first 16 bytes" cuts. A change of anything on this page needs a new format
//! version. `cache-core/tests/vectors/golden.py` makes records from this page alone, and the crate must agree with it.
//!
//! # The key of a record
//!
//! `{namespace}/{kind}/{name}`, where the name is the base64url (without padding) of HMAC-SHA-256(blinding key, kind behind
//! its length in 4 bytes ‖ logical key), and the blinding key is HKDF-SHA-256(location key, no salt,
//! `tokenkeep v1 stored key`). The location key is in the key ring; in an unsealed cache it is the 32 bytes
//! `tokenkeep public location key v1`, and the namespace ends in `.plaintext`. Beside the documents of MSAL programs
//! ([`layout`](crate::layout)), which nothing hides either, the name is the base64url of the logical key itself where that fits a store.
//!
//! # A sealed record, format version 1
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `TKSR` |
//! | 4 | 1 | format version, 1 |
//! | 5 | 1 | suite ([`Suite`](super::Suite)) |
//! | 6 | 1 | codec of the payload |
//! | 7 | 2 | schema version of the payload |
//! | 9 | 16 | incarnation: random, drawn when the record was created |
//! | 25 | 8 | generation: 1 at creation, one more at each write |
//! | 33 | 8 | key ID |
//! | 41 | 32 | key commitment: HKDF-SHA-256(key, no salt, `tokenkeep v1 key commitment`) |
//! | 73 | 16 | location tag: HMAC-SHA-256(tag key, location), its first 16 bytes |
//! | 89 | 24 | nonce |
//! | 113 | 4 | *n*, the length of the ciphertext |
//! | 117 | *n* | ciphertext, as long as the payload |
//! | 117 + *n* | 16 | authentication tag |
//!
//! The encryption key is HKDF-SHA-256(key, no salt, `tokenkeep v1 record encryption`).
//! The location is namespace, kind and stored key, each behind its length in 4 bytes; the tag key is
//! HKDF-SHA-256(location key, no salt, `tokenkeep v1 location tag`). The associated data is bytes 0 to 116
//! followed by the location. A record whose length is not 133 + *n* was cut, or something was appended to it; that is
//! looked at first, so that it is told from a change.
//!
//! # An unsealed record, format version 1
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `TKPT` |
//! | 4 | 1 | format version, 1 |
//! | 5 | 1 | codec of the payload |
//! | 6 | 2 | schema version of the payload |
//! | 8 | 16 | incarnation |
//! | 24 | 8 | generation |
//! | 32 | 16 | location tag, under a public key |
//! | 48 | 16 | checksum: SHA-256(bytes 0 to 47 ‖ location ‖ payload), its first 16 bytes |
//! | 64 | *n* | payload |
//!
//! The checksum finds accidents. It stops nobody who can write to the store.
//!
//! # The key ring record, format version 1
//!
//! It lies under `{namespace}/keyring/ring`.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 4 | magic `TKKR` |
//! | 4 | 1 | format version, 1 |
//! | 5 | 1 | suite ([`Suite`](super::Suite)) |
//! | 6 | 16 | ring ID |
//! | 22 | 8 | ring generation |
//! | 30 | 1 | length *k* of the key source's kind |
//! | 31 | *k* | kind of the key source |
//! | 31 + *k* | 2 | length *p* of the source's parameters |
//! | 33 + *k* | *p* | parameters |
//! | 33 + *k* + *p* | 32 | commitment: HKDF-SHA-256(key-encryption key, salt ring ID, `tokenkeep v1 key-ring commitment`) |
//! | 65 + *k* + *p* | 24 | nonce |
//! | 89 + *k* + *p* | *n* | ciphertext of the serialised ring |
//! | the last 16 | 16 | authentication tag |
//!
//! The encryption key is HKDF-SHA-256(key-encryption key, salt ring ID, `tokenkeep v1 key-ring encryption`). The
//! associated data is everything before the ciphertext, followed by the record's location.
//!
//! # The serialised ring, version 1
//!
//! It is what the ring record encrypts; the ring ID and generation are in that record's header.
//!
//! | offset | bytes | field |
//! |---|---|---|
//! | 0 | 1 | version, 1 |
//! | 1 | 4 | writer window, seconds |
//! | 5 | 32 | location key |
//! | 37 | 1 | number of keys, 1 to 64 |
//! | 38 | 73 each | keys: ID (8), state (1: 1 pending, 2 primary, 3 read-only, 4 retired), created, promoted, demoted, retired (8 each, unix seconds; lowest integer = not yet), key (32; zero once retired) |
//!
//! Exactly one key is primary, no ID occurs twice, and the length is exact.
//!
//! # Version history
//!
//! 1: the first.
