//! Partitions as the JSON codec writes them, and MSAL's own files.

use cache_core::codec::msal::{self, MsalCache};
use cache_core::codec::{Codec, MsalJsonCodec};

use crate::{Outcome, Target};

/// The target.
pub const TARGET: Target = Target {
    name: "msal_json",
    title: "MSAL's JSON: the codec, files, and their merge",
    run,
    seeds,
    max_len: 8192,
};

/// Files that real MSALs wrote.
pub(crate) const FILES: &[&[u8]] = &[
    include_bytes!("../../cache-core/tests/fixtures/msal/node_ip_device_code.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/node_msft_auth_code_foci.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/node_msft_client_credentials.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/node_msft_device_code.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/node_msft_obo.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/node_msft_two_tenants.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/py_ip_device_code.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/py_msft_auth_code_foci.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/py_msft_client_credentials.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/py_msft_device_code.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/py_msft_two_tenants.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/x_msft_go.json"),
    include_bytes!("../../cache-core/tests/fixtures/msal/x_msft_go_cc.json"),
    include_bytes!("../../cache-core/tests/golden/user_export.json"),
];

/// Decodes the bytes by the codec, and reads them as a file that is merged into what is there.
///
/// # Panics
/// When a partition or a file is not the same again.
pub fn run(data: &[u8]) -> Outcome {
    let version = MsalJsonCodec.schema_version();
    if let Ok(partition) = MsalJsonCodec.decode(data, version) {
        let bytes = MsalJsonCodec
            .encode(&partition)
            .expect("what was decoded has a form");
        let again = MsalJsonCodec
            .decode(bytes.expose(), version)
            .expect("so was encoded");
        assert!(again == partition, "a partition changed on its way");
    }
    let Ok(file) = msal::read(data) else {
        return Outcome::Refused;
    };
    let written = msal::write(&file);
    let again = msal::read(written.expose()).expect("what was written can be read");
    assert_eq!(rows(&again), rows(&file), "a file lost rows on its way");
    merge(&file);
    Outcome::taken(rows(&file) != [0; 5])
}

/// Takes a file in twice: the second time must add nothing.
fn merge(file: &MsalCache) {
    let identify = |origin: &msal::RowOrigin<'_>| origin.default_identity();
    for partition in msal::into_partitions(file.clone(), &identify) {
        let mut merged = cache_core::schema::Partition::new(partition.key.clone());
        msal::merge_import(&mut merged, partition.clone());
        let once = merged.clone();
        msal::merge_import(&mut merged, partition);
        assert!(merged == once, "the same rows again changed something");
    }
}

fn rows(file: &MsalCache) -> [usize; 5] {
    [
        file.accounts.len(),
        file.id_tokens.len(),
        file.access_tokens.len(),
        file.refresh_tokens.len(),
        file.app_metadata.len(),
    ]
}

fn seeds() -> Vec<Vec<u8>> {
    let golden: [&[u8]; 3] = [
        include_bytes!("../../cache-core/tests/golden/user_v1.json"),
        include_bytes!("../../cache-core/tests/golden/app_v1.json"),
        include_bytes!("../../cache-core/tests/golden/session_v1.json"),
    ];
    let files = golden.iter().chain(FILES);
    files.map(|file| file.trim_ascii().to_vec()).collect()
}
