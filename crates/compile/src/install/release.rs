//! The pinned builds of CPython: which one fits this machine, where it lies below a mirror, what its bytes hash to.

use std::path::Path;

use serde::Deserialize;

/// One release of python-build-standalone, as `releases.json` pins it.
#[derive(Debug, Deserialize)]
pub(super) struct Release {
    /// Version of CPython.
    pub(super) version: String,
    /// Tag of the release.
    pub(super) build: String,
    pub(super) archives: Vec<Archive>,
}

/// One archive of a release.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Archive {
    /// Target triple that it runs on.
    pub(super) target: String,
    /// Address below the mirror.
    pub(super) path: String,
    /// SHA-256 of its bytes, lower hex.
    pub(super) sha256: String,
}

impl Release {
    pub(super) fn pinned() -> Result<Self, serde_json::Error> {
        serde_json::from_str(include_str!("releases.json"))
    }

    pub(super) fn archive_for(&self, target: &str) -> Option<&Archive> {
        self.archives.iter().find(|archive| archive.target == target)
    }

    /// Name of the folder of an installed archive.
    pub(super) fn folder(&self, archive: &Archive) -> String {
        format!("cpython-{}+{}-{}", self.version, self.build, archive.target)
    }
}

/// The target triple of the machine, whatever this program was linked with: a static binary runs on hosts of either libc.
pub(super) fn host_target() -> String {
    let arch = std::env::consts::ARCH;
    match std::env::consts::OS {
        "linux" => {
            let loader = |names: [&str; 2]| names.iter().any(|name| Path::new(name).exists());
            let glibc = loader(["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"]);
            let musl = loader(["/lib/ld-musl-x86_64.so.1", "/lib/ld-musl-aarch64.so.1"]);
            format!("{arch}-unknown-linux-{}", if musl && !glibc { "musl" } else { "gnu" })
        }
        "macos" => format!("{arch}-apple-darwin"),
        other => format!("{arch}-{other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_supported_platform_has_a_well_formed_pin() {
        let release = Release::pinned().unwrap();
        assert!(release.version.starts_with("3.13."));
        for target in [
            "x86_64-unknown-linux-gnu",
            "x86_64-unknown-linux-musl",
            "aarch64-unknown-linux-gnu",
            "aarch64-unknown-linux-musl",
            "x86_64-apple-darwin",
            "aarch64-apple-darwin",
        ] {
            let archive = release.archive_for(target).unwrap();
            assert_eq!(hex::decode(&archive.sha256).unwrap().len(), 32);
            let name = format!("{0}/cpython-{1}%2B{0}-{target}-install_only_stripped.tar.gz", release.build, release.version);
            assert_eq!(archive.path, name);
        }
    }

    #[test]
    fn the_checksums_are_all_different() {
        let sums: std::collections::BTreeSet<_> = Release::pinned().unwrap().archives.into_iter().map(|archive| archive.sha256).collect();
        assert_eq!(sums.len(), 6);
    }

    #[test]
    fn there_is_nothing_for_windows() {
        assert!(Release::pinned().unwrap().archive_for("x86_64-windows").is_none());
    }
}
