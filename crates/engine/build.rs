//! A fingerprint of everything that decides a landed byte: landed bins that another build of the analysis made must not be taken for ours.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

/// The sources whose change may change what a bin's files hold. Of this crate: what is asked, how it is planned, how it is done.
const SOURCES: [&str; 8] =
    ["../bytecode/src", "../compile/src", "../encode/src", "../facts/src", "../landing/src", "src/job", "src/node", "src/plan"];

/// Views read what is landed.
const NO_SOURCES: [&str; 2] = ["../facts/src/views", "../facts/src/views.rs"];

fn main() -> io::Result<()> {
    let mut files = Vec::new();
    for folder in SOURCES {
        println!("cargo::rerun-if-changed={folder}");
        collect(Path::new(folder), &mut files)?;
    }
    files.push(PathBuf::from("../../Cargo.lock"));
    println!("cargo::rerun-if-changed=../../Cargo.lock");
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        file.hash(&mut hasher);
        std::fs::read(&file)?.hash(&mut hasher);
    }
    println!("cargo::rustc-env=BYTEFACTS_FINGERPRINT={:016x}", hasher.finish());
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if NO_SOURCES.iter().any(|other| path == Path::new(other)) {
            continue;
        }
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
