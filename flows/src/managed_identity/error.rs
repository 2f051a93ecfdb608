//! What only managed identities can fail with.

/// What an endpoint of a managed identity wanted and did not get, or that there is none. Nothing was sent for it.
///
/// Azure Arc's agent wants to be shown the content of a file that only it can write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ManagedIdentityError {
    /// No connection to the instance metadata service could be made, which is assumed where nothing else was found.
    #[error(
        "there is no instance metadata service here, so this machine has no managed identity that Azure gave it; sign in \
         another way, or look for a firewall if this is a virtual machine of Azure"
    )]
    NoMetadataService,
    /// The agent's challenge is not `Basic realm=` and a path.
    #[error(
        "the challenge of the Azure Arc agent does not name a key file; is something else listening at its address?"
    )]
    ChallengeUnreadable,
    /// The file is not one of the agent's keys. Whoever answers in the agent's place would be sent any file.
    #[error(
        "the Azure Arc agent asks for a file that is no `.key` file in its own folder of tokens; nothing was read or sent"
    )]
    KeyRefused,
    /// The file is larger than a key is.
    #[error("the key file of the Azure Arc agent is larger than 4096 bytes; nothing was sent")]
    KeyTooLarge,
    /// The file could not be read.
    #[error(
        "the key file of the Azure Arc agent cannot be read ({0}); the user must be in the agent's group `himds`"
    )]
    KeyUnreadable(std::io::ErrorKind),
    /// The file holds something else than a key.
    #[error("the key file of the Azure Arc agent is empty or holds bytes that no header can carry")]
    KeyMalformed,
}
