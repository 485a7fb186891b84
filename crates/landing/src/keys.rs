//! Object keys below the root of the facts, and the encoding of repository names in them.

use object_store::path::Path;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use crate::id::{AttemptId, RunId};

/// Folder of the root table's data files.
pub const DATA_FOLDER: &str = "bytecode_files_v1";

/// What Hive, Spark and DataFusion take for a null partition value.
const NULL_PARTITION: &str = "__HIVE_DEFAULT_PARTITION__";

/// Longest encoded name that is kept whole: with `repo=` it must stay within the 255 bytes of a file name.
const MAX_ENCODED: usize = 200;

/// All but unreserved characters; `~` is kept for the mark of shortened names.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.');

/// Path segment value of a repository: percent-encoded, injective, at most 233 bytes.
///
/// No repository is `__HIVE_DEFAULT_PARTITION__`; a repository that is really named so gets its first character
/// escaped. A name too long for a file name keeps its beginning, followed by `~` and the digest of the whole.
pub fn encode_repo(repo: Option<&str>) -> String {
    let Some(repo) = repo else {
        return NULL_PARTITION.to_owned();
    };
    if let Some(rest) = repo.strip_prefix('_')
        && repo == NULL_PARTITION
    {
        return format!("%5F{rest}");
    }
    let encoded = utf8_percent_encode(repo, ESCAPED).to_string();
    if encoded.len() <= MAX_ENCODED {
        return encoded;
    }
    // An escape cut in two would still be unique, but no longer decode.
    let mut end = MAX_ENCODED;
    while encoded.get(end.saturating_sub(2)..end).is_some_and(|tail| tail.contains('%')) {
        end -= 1;
    }
    let digest = crate::store::sha256_hex(repo.as_bytes());
    let (head, digest) = (encoded.get(..end).unwrap_or_default(), digest.get(..32).unwrap_or_default());
    format!("{head}~{digest}")
}

/// The repository that [`encode_repo`] encoded; `None` if the name was shortened or is no encoding of it (manifests
/// carry the full name).
pub fn decode_repo(value: &str) -> Option<Option<String>> {
    if value == NULL_PARTITION {
        return Some(None);
    }
    let repo = percent_decode_str(value).decode_utf8().ok()?.into_owned();
    (encode_repo(Some(&repo)) == value).then_some(Some(repo))
}

/// Key of a data file, relative to the root.
pub(crate) fn data_file(repo: Option<&str>, run: &RunId, bin_id: u32, attempt: &AttemptId, seq: u32) -> String {
    format!("{DATA_FOLDER}/repo={}/{run}-{bin_id:06}-{attempt}-{seq:04}.parquet", encode_repo(repo))
}

/// The run that a data file's name speaks of; `None` for names that [`data_file`] does not make.
pub(crate) fn run_of_data_file(name: &str) -> Option<RunId> {
    let stem = name.strip_suffix(".parquet")?;
    let mut parts = stem.rsplitn(4, '-');
    let (seq, attempt, bin) = (parts.next()?, parts.next()?, parts.next()?);
    let numeric = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !numeric(seq) || !numeric(bin) || AttemptId::new(attempt).is_err() {
        return None;
    }
    RunId::new(parts.next()?).ok()
}

/// Folder of the runs' documents.
pub(crate) const RUNS_FOLDER: &str = "runs";

pub(crate) fn run_folder(run: &RunId) -> String {
    format!("runs/{run}")
}

pub(crate) fn bins(run: &RunId) -> String {
    format!("runs/{run}/bins.jsonl")
}

pub(crate) fn job(run: &RunId) -> String {
    format!("runs/{run}/job.json")
}

pub(crate) fn interpreter(run: &RunId) -> String {
    format!("runs/{run}/interpreter.json")
}

/// Folder of the journals of a run's bins.
pub(crate) fn journals_folder(run: &RunId) -> String {
    format!("runs/{run}/attempts")
}

/// Folder of the journal of one bin.
pub(crate) fn journal_folder(run: &RunId, bin_id: u32) -> String {
    format!("{}/{bin_id:06}", journals_folder(run))
}

/// The note that a run is still being planned.
pub(crate) fn journal_planning(run: &RunId, time: u32) -> String {
    format!("{}/planning/{time:08}", journals_folder(run))
}

/// The journal's note that an attempt began.
pub(crate) fn journal_begun(run: &RunId, bin_id: u32, attempt: &AttemptId) -> String {
    format!("{}/{attempt}-begun", journal_folder(run, bin_id))
}

/// The journal's note that an attempt has done so many files of its bin.
pub(crate) fn journal_progress(run: &RunId, bin_id: u32, attempt: &AttemptId, files: u32) -> String {
    format!("{}/{attempt}-{files:08}", journal_folder(run, bin_id))
}

/// The attempt and, unless it only says that the attempt began, the files done of a journal's note with this name.
pub(crate) fn note_of_journal(name: &str) -> Option<(AttemptId, Option<u32>)> {
    let (attempt, what) = name.split_once('-')?;
    let files = match what {
        "begun" => None,
        number => Some(number.parse().ok()?),
    };
    Some((AttemptId::new(attempt).ok()?, files))
}

pub(crate) fn done_folder(run: &RunId) -> String {
    format!("runs/{run}/done")
}

pub(crate) fn done(run: &RunId, bin_id: u32) -> String {
    format!("runs/{run}/done/{bin_id:06}.json")
}

/// The bin whose record has this file name.
pub(crate) fn bin_of_record(name: &str) -> Option<u32> {
    let stem = name.strip_suffix(".json")?;
    let bin_id = stem.parse().ok()?;
    (format!("{bin_id:06}") == stem).then_some(bin_id)
}

pub(crate) fn manifest(run: &RunId) -> String {
    format!("runs/{run}/manifest.json")
}

pub(crate) fn schema(digest: &str) -> String {
    format!("schemas/{digest}.json")
}

pub(crate) const CURRENT: &str = "current.json";

/// The object by which an attempt at something learns the store's time.
pub(crate) fn clock(attempt: &AttemptId) -> String {
    format!("{CLOCK}{attempt}")
}

const CLOCK: &str = "clock-";

/// Whether an object in the root is one of [`clock`].
pub(crate) fn is_clock(name: &str) -> bool {
    name.strip_prefix(CLOCK).is_some_and(|attempt| AttemptId::new(attempt).is_ok())
}

/// `root` and the relative `key` as one path. The key is made of safe characters only, so it is taken as it stands:
/// the usual conversion would escape its percent signs again.
pub(crate) fn under(root: &Path, key: &str) -> Result<Path, object_store::path::Error> {
    if root.as_ref().is_empty() { Path::parse(key) } else { Path::parse(format!("{root}/{key}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_data_file_tells_its_run() {
        let attempt = AttemptId::new("3f.2").unwrap();
        for run in ["r", "20251122T174213Z-0000000a", "a-000001-b-0002"] {
            let run = RunId::new(run).unwrap();
            let key = data_file(Some("a b"), &run, 1_234_567, &attempt, 7);
            let name = key.rsplit('/').next().unwrap();
            assert_eq!(run_of_data_file(name), Some(run), "{name}");
        }
        for foreign in ["part-0.parquet", "r-000001-a-0001.orc", "r-x-a-0001.parquet", "-000001-a-0001.parquet", ""] {
            assert_eq!(run_of_data_file(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_name_of_a_record_tells_its_bin() {
        let run = RunId::new("r").unwrap();
        for bin_id in [0, 7, 999_999, u32::MAX] {
            let key = done(&run, bin_id);
            assert_eq!(bin_of_record(key.rsplit('/').next().unwrap()), Some(bin_id));
        }
        for foreign in ["7.json", "000007", "000007.json#1", "+00007.json"] {
            assert_eq!(bin_of_record(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn the_name_of_a_note_tells_its_attempt_and_progress() {
        let (run, attempt) = (RunId::new("r").unwrap(), AttemptId::new("3f_2").unwrap());
        let name_of = |key: String| key.rsplit('/').next().unwrap().to_owned();
        assert_eq!(note_of_journal(&name_of(journal_begun(&run, 7, &attempt))), Some((attempt.clone(), None)));
        assert_eq!(note_of_journal(&name_of(journal_progress(&run, 7, &attempt, 12))), Some((attempt.clone(), Some(12))));
        for foreign in ["begun", "a-", "a-x", "-begun"] {
            assert_eq!(note_of_journal(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn keys_are_taken_as_they_stand() {
        let key = "bytecode_files_v1/repo=a%20b/x.parquet";
        assert_eq!(under(&Path::default(), key).unwrap().as_ref(), key);
        let root = Path::from("some/facts");
        assert_eq!(under(&root, key).unwrap().as_ref(), format!("some/facts/{key}"));
    }
}
