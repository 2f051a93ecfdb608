//! The authenticated encryption under a record, behind a trait so that another library can supply it.

use std::fmt;

use xaes_256_gcm::aead::{AeadInOut, KeyInit};
use xaes_256_gcm::{Key, Nonce, Tag, Xaes256Gcm};

use super::key::SecretKey;

/// The length of a nonce, in bytes: 192 bits, long enough to be drawn at random for ever.
pub const NONCE_BYTES: usize = 24;
/// The length of an authentication tag, in bytes.
pub const TAG_BYTES: usize = 16;

/// Which construction sealed a record. This is an allow-list: a byte that is not listed is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Suite {
    /// XAES-256-GCM (C2SP): AES-256-GCM under a key derived from half of a 192-bit nonce.
    Xaes256Gcm = 1,
}

impl Suite {
    /// The suite's byte in a header.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The suite of a header byte; `None` when it is not on the allow-list.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        match code {
            1 => Some(Self::Xaes256Gcm),
            _ => None,
        }
    }
}

/// A record did not authenticate, or was too long. Says no more, because a forger would learn from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("authenticated encryption failed")]
pub struct AeadError;

/// A library that implements a [`Suite`]. All providers of a suite write the same bytes.
///
/// The default is [`Xaes256GcmProvider`]. A provider on another library (for speed, or for a certified
/// module) implements this trait, and must pass the vectors in `cache-core/tests/seal_vectors.rs`.
pub trait AeadProvider: fmt::Debug + Send + Sync + 'static {
    /// The suite that this provider implements.
    fn suite(&self) -> Suite;

    /// A cipher under `key`, made once per key and used for many records. It must wipe its key schedule when dropped.
    fn cipher(&self, key: &SecretKey) -> Box<dyn AeadCipher>;
}

/// A cipher under one key.
pub trait AeadCipher: Send + Sync {
    /// Encrypts `buffer` in place and returns the tag over it and `associated_data`.
    ///
    /// # Errors
    /// [`AeadError`] when an input is longer than the suite allows.
    fn encrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], AeadError>;

    /// Decrypts `buffer` in place, if `tag` is right for it and `associated_data`.
    ///
    /// # Errors
    /// [`AeadError`] when it is not; `buffer` must then not be used.
    fn decrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated_data: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), AeadError>;
}

/// Suite 1 by the pure-Rust crate `xaes-256-gcm`, which wipes its key schedules.
#[derive(Clone, Copy, Debug, Default)]
pub struct Xaes256GcmProvider;

impl AeadProvider for Xaes256GcmProvider {
    fn suite(&self) -> Suite {
        Suite::Xaes256Gcm
    }

    fn cipher(&self, key: &SecretKey) -> Box<dyn AeadCipher> {
        // Boxed at once: the schedule is about 1 KB, and a move would leave a copy of it on the stack.
        Box::new(Xaes256Gcm::new(<&Key>::from(key.expose())))
    }
}

impl AeadCipher for Xaes256Gcm {
    fn encrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; TAG_BYTES], AeadError> {
        self.encrypt_inout_detached(<&Nonce>::from(nonce), associated_data, buffer.into())
            .map(Into::into)
            .map_err(|_| AeadError)
    }

    fn decrypt(
        &self,
        nonce: &[u8; NONCE_BYTES],
        associated_data: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_BYTES],
    ) -> Result<(), AeadError> {
        self.decrypt_inout_detached(
            <&Nonce>::from(nonce),
            associated_data,
            buffer.into(),
            <&Tag>::from(tag),
        )
        .map_err(|_| AeadError)
    }
}

/// Compiles only while the cipher and what it is made of wipe themselves when dropped.
const _: fn() = || {
    fn wipes_itself<T: zeroize::ZeroizeOnDrop>() {}
    wipes_itself::<Xaes256Gcm>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_what_it_sealed() {
        let cipher = Xaes256GcmProvider.cipher(&SecretKey::from_bytes(&[1; 32]));
        let nonce = [2; NONCE_BYTES];
        let mut buffer = *b"attack at dawn";
        let tag = cipher.encrypt(&nonce, b"header", &mut buffer).unwrap();
        assert_ne!(&buffer, b"attack at dawn");
        let mut wrong = buffer;
        assert_eq!(
            cipher.decrypt(&nonce, b"Header", &mut wrong, &tag),
            Err(AeadError)
        );
        cipher.decrypt(&nonce, b"header", &mut buffer, &tag).unwrap();
        assert_eq!(&buffer, b"attack at dawn");
    }

    #[test]
    fn suites_are_an_allow_list() {
        assert_eq!(
            Suite::from_code(Suite::Xaes256Gcm.code()),
            Some(Suite::Xaes256Gcm)
        );
        for code in (0..=255).filter(|&code| code != 1) {
            assert_eq!(Suite::from_code(code), None);
        }
    }
}
