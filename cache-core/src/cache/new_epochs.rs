//! What new sign-ins are called.

use sha2::{Digest, Sha256};

use crate::random::{Random, RandomError, random_bytes};

/// Names for the sign-ins that one commit may begin: another for each run of its merge. Where an earlier run was stored and its sign-in ended
/// since, what is left of a session under that name must not come to life again.
pub(super) struct NewEpochs {
    seed: [u8; 16],
    run: u32,
}

impl NewEpochs {
    pub(super) fn draw(random: &dyn Random) -> Result<Self, RandomError> {
        Ok(Self {
            seed: random_bytes(random)?,
            run: 0,
        })
    }

    /// The merge runs again.
    pub(super) fn begin_run(&mut self) {
        self.run += 1;
    }

    /// The name of a sign-in of `client_id` in this run.
    pub(super) fn of(&self, client_id: &str) -> [u8; 16] {
        let digest = Sha256::new()
            .chain_update(self.seed)
            .chain_update(self.run.to_le_bytes())
            .chain_update(client_id.as_bytes())
            .finalize();
        let mut epoch = [0; 16];
        epoch.copy_from_slice(&digest[..16]);
        epoch
    }
}
