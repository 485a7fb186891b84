//! This machine: the cache's folder, and the limits that the system sets.

use std::path::{Path, PathBuf};

use bytefacts_compile::{Environment, cache_dir};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;

use super::Check;
use crate::config::Settings;
use crate::summary::bytes;

/// Checks the folder of the cache, unless there is to be none.
pub fn cache(settings: &Settings) -> Option<Check> {
    const NAME: &str = "cache";
    if !settings.cache.enabled {
        return None;
    }
    let elsewhere = "set `cache.folder`, or BYTEFACTS_CACHE_DIR, to a folder that can be written, or use --no-cache";
    let Some(folder) = settings.cache.folder.clone().or_else(|| cache_dir(&Environment::from_process()).map(|dir| dir.join("units")))
    else {
        return Some(Check::warn(NAME, "this user has no folder for caches", elsewhere));
    };
    Some(match tried(&folder) {
        Err(error) => Check::warn(NAME, format!("{} cannot be written: {error}", folder.display()), elsewhere),
        Ok(free) if free < settings.cache.disk_bytes => Check::warn(
            NAME,
            format!("{} has {} free, and the cache may take {}", folder.display(), bytes(free), bytes(settings.cache.disk_bytes)),
            "make room, or lower `cache.disk_bytes`",
        ),
        Ok(free) => Check::ok(NAME, format!("{}, {} free", folder.display(), bytes(free))),
    })
}

/// Writes a file where the folder is, or would be made; the bytes that are free there.
fn tried(folder: &Path) -> std::io::Result<u64> {
    let nearest = folder.ancestors().find(|ancestor| ancestor.is_dir()).map_or_else(|| PathBuf::from("/"), Path::to_owned);
    drop(tempfile::tempfile_in(&nearest)?);
    let space = statvfs(&nearest)?;
    Ok(space.blocks_available().saturating_mul(space.fragment_size()))
}

/// Open files that a busy executor may have: connections, pipes of workers, files of the cache.
const OPEN_FILES: u64 = 1024;

/// Memory that a core should have: a worker, what it compiles, and its share of rows being encoded.
const MEMORY_A_CORE: u64 = 1 << 30;

/// Checks the limits of this process.
pub fn limits() -> Vec<Check> {
    vec![open_files(), memory()]
}

fn open_files() -> Check {
    const NAME: &str = "limits: open files";
    match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok((now, most)) if now < OPEN_FILES => Check::warn(
            NAME,
            format!("{now}, and {most} at most"),
            format!("raise it: `ulimit -n {OPEN_FILES}`, or LimitNOFILE= of the service"),
        ),
        Ok((now, _)) => Check::ok(NAME, now.to_string()),
        Err(error) => Check::warn(NAME, error.to_string(), "it cannot be read here"),
    }
}

fn memory() -> Check {
    const NAME: &str = "limits: memory";
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let group = group_limit(Path::new("/sys/fs/cgroup"));
    let Some(machine) = machine_memory(&std::fs::read_to_string("/proc/meminfo").unwrap_or_default()) else {
        return Check::warn(NAME, "unknown", "it cannot be read here");
    };
    let (total, of) = match group {
        Some(group) if group < machine => (group, "the control group's limit"),
        _ => (machine, "the machine's"),
    };
    let found = format!("{} ({of}), {cores} cores", bytes(total));
    if total / cores >= MEMORY_A_CORE {
        return Check::ok(NAME, found);
    }
    Check::warn(NAME, found, format!("use fewer cores (--jobs, --cores), or give {} a core", bytes(MEMORY_A_CORE)))
}

/// The limit of the control group, of version 2 or 1, if it sets one.
fn group_limit(root: &Path) -> Option<u64> {
    ["memory.max", "memory/memory.limit_in_bytes"]
        .iter()
        .find_map(|name| std::fs::read_to_string(root.join(name)).ok()?.trim().parse().ok())
}

/// All memory, as the kernel tells.
fn machine_memory(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_what_the_kernel_and_the_group_say() {
        assert_eq!(machine_memory("MemTotal:       16 kB\nMemFree: 1 kB\n"), Some(16 << 10));
        assert_eq!(machine_memory("MemFree: 1 kB\n"), None);
        let root = tempfile::tempdir().unwrap();
        assert_eq!(group_limit(root.path()), None);
        std::fs::write(root.path().join("memory.max"), "max\n").unwrap();
        assert_eq!(group_limit(root.path()), None, "no limit");
        std::fs::write(root.path().join("memory.max"), "1024\n").unwrap();
        assert_eq!(group_limit(root.path()), Some(1024));
    }

    #[test]
    fn a_folder_is_tried_where_it_would_be_made_and_nothing_stays() {
        let root = tempfile::tempdir().unwrap();
        assert!(tried(&root.path().join("a/b")).unwrap() > 0);
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);
        assert!(tried(Path::new("/proc/none")).is_err());
    }
}
