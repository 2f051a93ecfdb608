//! A growing buffer for secrets.

use std::io;

use zeroize::{Zeroize, Zeroizing};

use crate::secret::SecretBytes;

/// A writer into memory that is wiped. A plain `Vec` leaves a copy of its content behind each time it grows.
#[derive(Default)]
pub(super) struct SecretBuffer(Zeroizing<Vec<u8>>);

impl SecretBuffer {
    pub(super) fn into_secret(mut self) -> SecretBytes {
        SecretBytes::new(std::mem::take(&mut *self.0))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl io::Write for SecretBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let needed = self.0.len() + bytes.len();
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(self.0.capacity() * 2).max(1024));
            larger.extend_from_slice(&self.0);
            std::mem::replace(&mut *self.0, larger).zeroize();
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_content_survives_growth() {
        let mut buffer = SecretBuffer::default();
        let expected: Vec<u8> = (0..5000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for chunk in expected.chunks(7) {
            buffer.write_all(chunk).unwrap();
        }
        assert_eq!(buffer.bytes(), expected);
        assert_eq!(buffer.into_secret().expose(), expected);
    }
}
