//! What is known of a client application at an authority.

use super::Foreign;

/// Whether a client belongs to a family whose members may redeem each other's refresh tokens (`foci`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppMetadata {
    /// The client.
    pub client_id: String,
    /// The host that said so.
    pub environment: String,
    /// The family; the empty string when the client is known not to belong to one, `None` when nothing is known.
    pub family_id: Option<String>,
    /// What another program keeps on this row.
    pub foreign: Option<Box<Foreign>>,
}
