//! MSAL's unified cache schema as JSON: the exchange format of `import` and `export`, and codec 2.
//!
//! A cache file has five sections, `Account`, `IdToken`, `AccessToken`, `RefreshToken` and `AppMetadata`, each
//! an object of rows by name. MSAL .NET, Python, Node, Go and Java agree on the fields and on little else, so
//! [`read`] is lenient and [`write()`] careful, and nothing that was read is lost:
//!
//! - A row that is still as it was read is written exactly as it was, under its own name. What differs from our
//!   own way of writing it stays on the row as [`Foreign`](crate::schema::Foreign). Code that changes a known
//!   field of a row keeps [`carried_over`](crate::schema::Foreign::carried_over) of it, with the list of known
//!   fields of this module.
//! - Sections and rows that are not understood are [residue](MsalCache::residue).
//!
//! What MSAL has no place for is in a nested object `TokenKeep` of a row, and, in codec 2 only, in a section
//! of that name. The exchange format carries the context of access tokens there, and neither spend markers nor
//! refusals, which mean nothing to other programs. Rows of generic OpenID Connect issuers carry the field
//! `issuer`, because their host does not name their authority.
//!
//! Application tokens are written once, without a `home_account_id`. A place that several MSALs share at the same
//! time needs them twice (Python looks for `null`, Node for the empty text), but a plain export must not invent rows: such places are a
//! matter of [`layout`](crate::layout).
//!
//! ```
//! use cache_core::codec::msal;
//!
//! let file = br#"{ "AppMetadata": { "any name": { "client_id": "c", "environment": "e", "x": [1,] } }, }"#;
//! let cache = msal::read(file)?;
//! assert_eq!(cache.app_metadata[0].client_id, "c");
//! let partitions = msal::into_partitions(cache, &|origin| origin.default_identity());
//! let written = msal::write(&msal::from_partitions(&partitions));
//! assert_eq!(
//!     written.expose(),
//!     br#"{"AppMetadata":{"any name":{"client_id":"c","environment":"e","x":[1]}}}"#
//! );
//! # Ok::<(), cache_core::codec::CodecError>(())
//! ```

mod account;
mod app_metadata;
mod as_read;
mod cache;
mod codec;
mod credential;
mod document;
mod extension;
mod field;
mod grouping;
mod lenient;
mod merge;
mod naming;
mod row;

pub use account::{ACCOUNT_FIELDS, TENANT_PROFILE_FIELDS};
pub use app_metadata::APP_METADATA_FIELDS;
pub use cache::{MsalCache, UnreadRow, read, write};
pub use codec::MsalJsonCodec;
pub(crate) use document::Document;
pub(crate) use naming::{Names, Style};

pub use credential::{ACCESS_TOKEN_FIELDS, ID_TOKEN_FIELDS, REFRESH_TOKEN_FIELDS};
pub use grouping::{RowOrigin, from_partitions, into_partitions};
pub use merge::merge_import;
pub(crate) use merge::{has_residue, merge_residue};

use super::CodecError;

/// The nested object of a row, and the section, that hold what MSAL has no place for.
const EXTENSION: &str = "TokenKeep";

const NAME: &str = "MSAL JSON";

fn malformed(reason: impl Into<String>) -> CodecError {
    CodecError::Malformed {
        codec: NAME,
        reason: reason.into(),
    }
}
