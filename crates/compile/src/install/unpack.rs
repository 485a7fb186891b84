//! Unpacks a `.tar.gz` so that nothing of it can land, or point, outside of its folder.

use std::fs::File;
use std::io::{self, BufReader};
use std::path::{Component, Path};

use flate2::read::MultiGzDecoder;
use tar::{Archive, EntryType};

/// Unpacks `archive` into the existing folder `into`. What was unpacked before an error stays: the caller throws the
/// folder away.
pub(super) fn unpack(archive: &Path, into: &Path) -> io::Result<()> {
    let mut archive = Archive::new(MultiGzDecoder::new(BufReader::new(File::open(archive)?)));
    for entry in archive.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        let link = entry.link_name()?;
        let inside = depth(Path::new(""), &path).is_some()
            && match (entry.header().entry_type(), &link) {
                (EntryType::Regular | EntryType::Directory, _) => true,
                (EntryType::Symlink, Some(to)) => depth(path.parent().unwrap_or(Path::new("")), to).is_some(),
                (EntryType::Link, Some(to)) => depth(Path::new(""), to).is_some(),
                _ => false,
            };
        // `unpack_in` has the last word: it also refuses to write through a link that leads out.
        if !inside || !entry.unpack_in(into)? {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("unsafe entry {}", path.display())));
        }
    }
    Ok(())
}

/// How deep below the root `path` ends when it starts in `from`; `None` if it is absolute or leaves the root on the way.
fn depth(from: &Path, path: &Path) -> Option<usize> {
    from.components().chain(path.components()).try_fold(0_usize, |depth, component| match component {
        Component::Normal(_) => Some(depth + 1),
        Component::CurDir => Some(depth),
        Component::ParentDir => depth.checked_sub(1),
        Component::RootDir | Component::Prefix(_) => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_may_wander_within_the_root_only() {
        assert_eq!(depth(Path::new("python/bin"), Path::new("../lib/x")), Some(3));
        assert_eq!(depth(Path::new("python/bin"), Path::new("../..")), Some(0));
        assert_eq!(depth(Path::new("python/bin"), Path::new("../../..")), None);
        assert_eq!(depth(Path::new(""), Path::new("../python")), None);
        assert_eq!(depth(Path::new("python"), Path::new("/etc/passwd")), None);
    }
}
