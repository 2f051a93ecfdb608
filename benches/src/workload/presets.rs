//! The workloads that are shipped.

use super::error::WorkloadError;
use super::file::Workload;

/// Their names and files.
pub const PRESETS: [(&str, &str); 3] = [
    ("desktop-tool", include_str!("presets/desktop-tool.toml")),
    ("web-front-end", include_str!("presets/web-front-end.toml")),
    (
        "multi-tenant-daemon",
        include_str!("presets/multi-tenant-daemon.toml"),
    ),
];

/// The file of the workload `name`.
///
/// # Errors
/// [`WorkloadError::NoPreset`].
pub fn text(name: &str) -> Result<&'static str, WorkloadError> {
    PRESETS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, text)| *text)
        .ok_or_else(|| WorkloadError::NoPreset(name.to_owned()))
}

/// The workload `name`.
///
/// # Errors
/// [`WorkloadError::NoPreset`].
pub fn workload(name: &str) -> Result<Workload, WorkloadError> {
    Workload::parse(text(name)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_a_workload() {
        for (name, _) in PRESETS {
            let workload = workload(name).unwrap();
            assert!(!workload.summary.is_empty(), "{name}");
        }
        assert!(matches!(workload("mainframe"), Err(WorkloadError::NoPreset(_))));
    }
}
