//! Partitions as the binary codec writes them.

use cache_core::codec::{BincodeCodec, Codec};

use crate::scene::unhex;
use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "bincode",
    title: "partitions as the binary codec writes them",
    run,
    seeds,
    max_len: 4096,
};

/// Decodes the bytes, and encodes what they were.
///
/// # Panics
/// When a partition is not the same again.
pub fn run(data: &[u8]) -> Outcome {
    let version = BincodeCodec.schema_version();
    let Ok(partition) = BincodeCodec.decode(data, version) else {
        return Outcome::Refused;
    };
    let bytes = BincodeCodec
        .encode(&partition)
        .expect("what was decoded has a form");
    let again = BincodeCodec
        .decode(bytes.expose(), version)
        .expect("so was encoded");
    assert!(again == partition, "a partition changed on its way");
    Outcome::Taken
}

fn seeds() -> Vec<Vec<u8>> {
    let golden = [
        include_str!("../../cache-core/tests/golden/user_v1.hex"),
        include_str!("../../cache-core/tests/golden/app_v1.hex"),
        include_str!("../../cache-core/tests/golden/session_v1.hex"),
    ];
    golden.map(unhex).into()
}
