//! The key that cookies are encrypted with.

use axum_extra::extract::cookie::Key;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cache_core::random::random_bytes;
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::sealed_records::{RecordError, SealedRecords};

const NAME: &[u8] = b"cookie-key";

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct CookieKey {
    base64: String,
}

/// The key of all replicas. The first of them makes it, and it lies sealed in the shared store, so that `--key` is the one
/// secret that has to be handed out. To replace it, remove the namespace `web-sessions`: everybody then signs in again.
/// Cookies are sealed under random nonces, of which a key is good for some four thousand million.
pub(super) async fn load_or_create(records: &SealedRecords) -> Result<Key, RecordError> {
    let mine = CookieKey {
        base64: STANDARD.encode(*Zeroizing::new(random_bytes::<64>(records.random())?)),
    };
    // Where another replica was faster, its key is the one that counts.
    let kept = if records.create(NAME, &mine, None).await? {
        mine
    } else {
        let found = records.read::<CookieKey>(NAME).await?;
        found.ok_or(RecordError::Contended)?.value
    };
    let bytes = Zeroizing::new(STANDARD.decode(&kept.base64).map_err(|_| RecordError::Json)?);
    Key::try_from(bytes.as_slice()).map_err(|_| RecordError::Json)
}
