//! Object keys below the root of the facts.

use object_store::path::Path;

use super::id::{AttemptId, RunId};

/// Folder of the root table's data files.
pub const DATA_FOLDER: &str = "bytecode_files_v1";

/// The partition of data files: the run that landed them, which is seldom the only one that names them.
const PARTITION: &str = "landed";

/// Folder of the data files that a run has landed.
pub(crate) fn data_folder(run: &RunId) -> String {
    format!("{DATA_FOLDER}/{PARTITION}={run}")
}

/// Key of a data file, relative to the root.
pub(crate) fn data_file(run: &RunId, bin_id: u32, attempt: &AttemptId, seq: u32) -> String {
    format!("{}/{bin_id:06}-{attempt}-{seq:04}.parquet", data_folder(run))
}

/// The run and the bin that landed a data file; `None` for keys that [`data_file`] does not make.
pub(crate) fn origin_of_data_file(key: &str) -> Option<(RunId, u32)> {
    let (folder, name) = key.strip_prefix(DATA_FOLDER)?.strip_prefix('/')?.split_once('/')?;
    let run = RunId::new(folder.strip_prefix(PARTITION)?.strip_prefix('=')?).ok()?;
    let mut parts = name.strip_suffix(".parquet")?.split('-');
    let (bin, attempt, seq) = (parts.next()?, parts.next()?, parts.next()?);
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_ours = is_number(bin) && is_number(seq) && AttemptId::new(attempt).is_ok() && parts.next().is_none();
    is_ours.then(|| Some((run, bin.parse().ok()?)))?
}

/// Folder of the runs' documents.
pub(crate) const RUNS_FOLDER: &str = "runs";

pub(crate) fn run_folder(run: &RunId) -> String {
    format!("runs/{run}")
}

pub(crate) fn job(run: &RunId) -> String {
    format!("runs/{run}/job.json")
}

pub(crate) fn interpreter(run: &RunId) -> String {
    format!("runs/{run}/interpreter.json")
}

/// The index of the bins.
pub(crate) fn bins(run: &RunId) -> String {
    format!("runs/{run}/bins.json")
}

/// Folder of the shards that an index of bins names.
pub(crate) fn bins_folder(run: &RunId) -> String {
    format!("runs/{run}/bins")
}

/// Folder of the shards that a manifest consists of.
pub(crate) fn manifest_folder(run: &RunId) -> String {
    format!("runs/{run}/manifest")
}

/// A shard of a kind in a folder, named by whoever writes it and its number.
pub(crate) fn shard(folder: &str, attempt: &AttemptId, kind: &str, number: usize) -> String {
    format!("{folder}/{attempt}-{kind}-{number:06}.zst")
}

/// Whether a key, which may have come from afar, is one of a shard of bins.
pub(crate) fn is_shard_of_bins(key: &str) -> bool {
    let mut parts = key.split('/');
    let (runs, run, bins, name) = (parts.next(), parts.next(), parts.next(), parts.next());
    (runs, bins, parts.next()) == (Some(RUNS_FOLDER), Some("bins"), None)
        && run.is_some_and(|run| RunId::new(run).is_ok())
        && name.is_some_and(|name| name.ends_with(".zst") && !name.starts_with('.'))
}

/// Folder of the journals of a run.
pub(crate) fn attempts_folder(run: &RunId) -> String {
    format!("runs/{run}/attempts")
}

/// Folder of the journal of one bin.
pub(crate) fn journal_folder(run: &RunId, bin_id: u32) -> String {
    format!("{}/{bin_id:06}", attempts_folder(run))
}

/// The journal's note that an attempt began.
pub(crate) fn journal_begun(run: &RunId, bin_id: u32, attempt: &AttemptId) -> String {
    format!("{}/{attempt}-begun", journal_folder(run, bin_id))
}

/// The journal's note that an attempt has done so many files of its bin.
pub(crate) fn journal_progress(run: &RunId, bin_id: u32, attempt: &AttemptId, files: u32) -> String {
    format!("{}/{attempt}-{files:08}", journal_folder(run, bin_id))
}

/// The note that a run is still being planned. Of each attempt to plan it the notes are others: who waits takes what is there already for no sign.
pub(crate) fn journal_planning(run: &RunId, attempt: &AttemptId, time: u32) -> String {
    format!("{}/planning/{attempt}-{time:08}", attempts_folder(run))
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

/// The header of a run, which decides its fate.
pub(crate) fn header(run: &RunId) -> String {
    format!("runs/{run}/run.json")
}

/// The mark of a committed run that was let go.
pub(crate) fn let_go(run: &RunId) -> String {
    format!("runs/{run}/let_go.json")
}

/// What earlier versions wrote in the place of [`header`].
pub(crate) fn older_manifest(run: &RunId) -> String {
    format!("runs/{run}/manifest.json")
}

/// What earlier versions wrote in the place of [`bins`].
pub(crate) fn older_bins(run: &RunId) -> String {
    format!("runs/{run}/bins.jsonl")
}

/// A document about a committed run that somebody has derived from it.
pub(crate) fn attached(run: &RunId, name: &str) -> String {
    format!("runs/{run}/about/{name}")
}

/// Folder of the audits' documents.
pub(crate) const AUDITS_FOLDER: &str = "audits";

pub(crate) fn audit_folder(audit: &RunId) -> String {
    format!("audits/{audit}")
}

/// What an audit was asked to do.
pub(crate) const AUDIT_ASKED: &str = "asked.json";

/// What an audit wants to do, once it knows the run.
pub(crate) const AUDIT_PLAN: &str = "plan.json";

/// The header of an audit.
pub(crate) const AUDIT_HEADER: &str = "audit.json";

/// A document of an audit.
pub(crate) fn audit(audit: &RunId, name: &str) -> String {
    format!("audits/{audit}/{name}")
}

pub(crate) fn schema(digest: &str) -> String {
    format!("schemas/{digest}.json")
}

pub(crate) const CURRENT: &str = "current.json";

/// The object by which an attempt at something learns what the store does.
pub(crate) fn probe(attempt: &AttemptId) -> String {
    format!("{PROBE}{attempt}")
}

const PROBE: &str = "clock-";

/// Whether an object in the root is one of [`probe`].
pub(crate) fn is_probe(name: &str) -> bool {
    name.strip_prefix(PROBE).is_some_and(|attempt| AttemptId::new(attempt).is_ok())
}

/// `root` and the relative `key` as one path. The key is made of safe characters only, so it is taken as it stands.
pub(crate) fn under(root: &Path, key: &str) -> Result<Path, object_store::path::Error> {
    if root.as_ref().is_empty() { Path::parse(key) } else { Path::parse(format!("{root}/{key}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_of_a_data_file_tells_its_run_and_bin() {
        let attempt = AttemptId::new("3f.2").unwrap();
        for run in ["r", "20251122T174213Z-0000000a", "a-000001-b-0002", "2024-01-31"] {
            let run = RunId::new(run).unwrap();
            let key = data_file(&run, 1_234_567, &attempt, 7);
            assert_eq!(origin_of_data_file(&key), Some((run, 1_234_567)), "{key}");
        }
        for foreign in [
            "part-0.parquet",
            "bytecode_files_v1/part-0.parquet",
            "bytecode_files_v1/repo=a/r-000001-a-0001.parquet",
            "bytecode_files_v1/landed=r/000001-a-0001.orc",
            "bytecode_files_v1/landed=r/x-a-0001.parquet",
            "bytecode_files_v1/landed=r/000001-a-0001-2.parquet",
            "bytecode_files_v1/landed=/000001-a-0001.parquet",
            "bytecode_files_v1/landed=r/sub/000001-a-0001.parquet",
            "",
        ] {
            assert_eq!(origin_of_data_file(foreign), None, "{foreign}");
        }
    }

    #[test]
    fn a_key_from_afar_is_a_shard_of_bins_or_refused() {
        let shard = shard(&bins_folder(&RunId::new("r").unwrap()), &AttemptId::new("a").unwrap(), "bins", 3);
        assert!(is_shard_of_bins(&shard), "{shard}");
        for foreign in
            ["runs/r/bins.json", "runs/../bins/x.zst", "runs/r/bins/../../x.zst", "/etc/passwd", "runs/r/bins/", "runs/r/done/x.zst"]
        {
            assert!(!is_shard_of_bins(foreign), "{foreign}");
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
        let key = "bytecode_files_v1/landed=r/x.parquet";
        assert_eq!(under(&Path::default(), key).unwrap().as_ref(), key);
        let root = Path::from("some/facts");
        assert_eq!(under(&root, key).unwrap().as_ref(), format!("some/facts/{key}"));
    }
}
