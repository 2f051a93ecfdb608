//! The options of `migrate`.

use clap::Args;

use crate::key_address::KeyAddress;
use crate::store_address::StoreAddress;

#[derive(Args, Clone, Debug)]
pub(crate) struct MigrateArguments {
    /// Where the tokens are, written as for --store. Everything in it moves, also of authorities and clients that no option names;
    /// other programs that share it are signed out [default: what --store says]
    #[arg(long, value_name = "STORE")]
    pub(crate) from: Option<StoreAddress>,
    /// Where they are to be. A store of this program's own is made if it is missing
    #[arg(long, value_name = "STORE")]
    pub(crate) to: StoreAddress,
    /// What they are encrypted with where they are, written as for --key [default: what --key says]
    #[arg(long, value_name = "KEY")]
    pub(crate) from_key: Option<KeyAddress>,
    /// What they are to be encrypted with; a pass phrase is TOKENKEEP_NEW_PASSPHRASE, else asked for [default: what --key says]
    #[arg(long, value_name = "KEY")]
    pub(crate) to_key: Option<KeyAddress>,
    /// Only say what would be moved
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Go on although the target has no place for some records, such as sessions in a file of MSAL programs; they stay
    #[arg(long)]
    pub(crate) leave_behind: bool,
    /// Move encrypted tokens to a place that this program does not encrypt
    #[arg(long)]
    pub(crate) allow_plaintext: bool,
    /// Copy, and leave the source as it is; without refresh tokens, which must not be in two places
    #[arg(long)]
    pub(crate) copy: bool,
    /// Copy refresh tokens too. Right only where the authority lets them be used again and again: others take the second use for a
    /// theft, and sign the user out
    #[arg(long, requires = "copy")]
    pub(crate) copy_refresh_tokens: bool,
}

impl MigrateArguments {
    /// The stores that are named.
    pub(crate) fn stores(&self) -> impl Iterator<Item = &StoreAddress> {
        self.from.iter().chain([&self.to])
    }
}
