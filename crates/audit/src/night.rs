//! A night: which files it covers, their derivations under each condition, and what becomes of each.
//!
//! The unit of work is a bin under a condition: [`derive`] needs nothing but the sources of the bin, the condition and an interpreter, and gives
//! what [`judge`] compares. So units can run anywhere, in any order, and be repeated alone.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use blake2::{Blake2b, Digest as _, digest::consts::U8};
use bytefacts_bytecode::marshal;
use bytefacts_compile::{CompileOptions, Compiled, Diagnostic, Interpreter, Limits, Outcome, Pool, PoolError};
use serde::{Deserialize, Serialize};

use crate::cause;
use crate::changes::{FileFacts, Name};
use crate::difference::{self, Difference, FieldKind};
use crate::digests::{DeriveError, Derived, Deriver, Digests, SourceFile};
use crate::edits::{self, UnitLines};
use crate::matrix::Condition;
use crate::stream;

/// Which files a night covers.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Bins of files, in the order in which they are to be covered.
    pub bins: Vec<Vec<(Name, FileFacts)>>,
    /// Files that another night covers.
    pub other_nights: u64,
    /// Files without a source to derive from.
    pub unreadable: u64,
}

/// Chooses the files of a night, of so many that all are covered after. Which night a file belongs to follows from its name and content alone; so
/// does its bin. With which bin the night begins is another thing each time that the same files have their turn: where the budget ends before the
/// sample does, it is not the same files that are left out for ever.
#[must_use]
pub fn sample(files: &[(Name, FileFacts)], night: u64, nights: u64, bin_files: usize) -> Sample {
    let mut sample = Sample::default();
    let mut tonight: Vec<(u64, &(Name, FileFacts))> = Vec::new();
    for file in files {
        let Some(source) = file.1.source else {
            sample.unreadable += 1;
            continue;
        };
        let rank = rank(&file.0, &source);
        if is_of_night(rank, night, nights) {
            tonight.push((rank, file));
        } else {
            sample.other_nights += 1;
        }
    }
    tonight.sort_unstable_by(|a, b| (a.0, &a.1.0).cmp(&(b.0, &b.1.0)));
    for bin in tonight.chunks(bin_files.max(1)) {
        let mut bin: Vec<(Name, FileFacts)> = bin.iter().map(|(_, file)| (*file).clone()).collect();
        bin.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        sample.bins.push(bin);
    }
    let begins = beginning(night / nights.max(1), sample.bins.len());
    sample.bins.rotate_left(begins);
    sample
}

/// The bin that a turn begins with: the first, then the one half way, then those at the quarters and so on, so that whatever share of the bins a budget
/// is enough for, each has its turn: of 2ⁿ turns from a multiple of that on, each begins in another of as many parts.
fn beginning(turn: u64, bins: usize) -> usize {
    let part = (u128::from(turn.reverse_bits()) * bins as u128) >> u64::BITS;
    usize::try_from(part).unwrap_or(0)
}

fn is_of_night(rank: u64, night: u64, nights: u64) -> bool {
    rank % nights.max(1) == night % nights.max(1)
}

/// Whether a night covers what has a name and no source of its own, such as a `.pyc` file.
#[must_use]
pub fn covers(path: &str, night: u64, nights: u64) -> bool {
    is_of_night(rank(&Name { repo: None, path: path.to_owned() }, &[]), night, nights)
}

fn rank(name: &Name, source: &[u8]) -> u64 {
    let mut hash = Blake2b::<U8>::new();
    hash.update(source);
    for part in [name.repo.as_deref().unwrap_or("").as_bytes(), name.path.as_bytes()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    u64::from_le_bytes(hash.finalize().into())
}

/// What derives.
#[derive(Clone, Debug)]
pub struct Bench {
    /// The interpreter of the run.
    pub interpreter: Interpreter,
    /// Second interpreters.
    pub others: Vec<Interpreter>,
    /// What the run compiled with.
    pub options: CompileOptions,
    /// What bounded it.
    pub limits: Limits,
    /// What its facts are.
    pub deriver: Deriver,
}

/// Why a unit of work has no result. The machine is at fault, not a file.
#[derive(Debug, thiserror::Error)]
pub enum NightError {
    /// No worker.
    #[error("no worker under condition {condition}: {source}")]
    Pool {
        /// The condition.
        condition: String,
        /// What is wrong.
        source: PoolError,
    },
    /// A fault of the analysis.
    #[error(transparent)]
    Derive(#[from] DeriveError),
}

/// A bin, derived under a condition.
#[derive(Clone, Debug)]
pub struct Derivation {
    /// What its files come to, in the order of the bin.
    pub files: Vec<Derived>,
    /// What that took: CPU time of the worker, and time of the analysis. Starting the worker is not counted.
    pub cpu: Duration,
}

/// Derives the files of a bin under a condition, in its order, on one worker.
///
/// # Errors
/// If no worker can be had.
pub async fn derive(bench: &Bench, name: &str, condition: &Condition, bin: &[SourceFile]) -> Result<Derivation, NightError> {
    let failed = |source| NightError::Pool { condition: name.to_owned(), source };
    let interpreter = condition.python.and_then(|index| bench.others.get(index)).unwrap_or(&bench.interpreter);
    let (options, limits) = (condition.options(bench.options), condition.limits(&bench.limits));
    let pool = Pool::start_with(interpreter, options, 1, limits, condition.worker()).await.map_err(failed)?;
    let contents: Vec<_> = bin.iter().map(|file| file.sha256).collect();
    let sequence = condition.sequence(&contents);
    let sources = || sequence.iter().filter_map(|at| Some((*at, bin.get(*at)?)));
    if condition.predecessors {
        for (_, file) in sources() {
            pool.compile(file.source.clone()).await.map_err(failed)?;
        }
    }
    let (mut derived, mut analysis) = (BTreeMap::new(), Duration::ZERO);
    for (at, file) in sources() {
        let compiled = pool.compile(file.source.clone()).await.map_err(failed)?;
        let begun = Instant::now();
        derived.insert(at, bench.deriver.derive(file, compiled)?);
        analysis += begun.elapsed();
    }
    pool.shutdown().await;
    Ok(Derivation { files: derived.into_values().collect(), cpu: pool.stats().cpu + analysis })
}

/// What became of a file under a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The same facts, but for an order that CPython draws from the hash seed and that does nothing.
    Good,
    /// Other facts.
    Bad,
    /// The second derivation failed.
    Fail,
    /// Not covered.
    Unknown,
}

impl Kind {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Bad => "bad",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// Why a file of the night's sample was not covered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gap {
    /// The CPU time of the night was spent.
    Budget,
    /// Its source cannot be read any more.
    SourceGone,
    /// Its source has changed since the run.
    SourceChanged,
}

impl Gap {
    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::SourceGone => "source_gone",
            Self::SourceChanged => "source_changed",
        }
    }

    /// In a sentence.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Budget => "the budget of CPU time is spent",
            Self::SourceGone => "the source cannot be read any more",
            Self::SourceChanged => "the source has changed since it was extracted",
        }
    }

    /// Code of the cause, if it is one of the catalogue.
    #[must_use]
    pub fn cause(self) -> Option<&'static str> {
        match self {
            Self::Budget => None,
            Self::SourceGone | Self::SourceChanged => Some("C39"),
        }
    }
}

/// Lines of instructions that a verdict keeps at most.
pub const SIDES: usize = 40;
/// Lines around each change.
pub const AROUND: usize = 2;

/// The verdict on a file under a condition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// Its repository.
    pub repo: Option<String>,
    /// Its path.
    pub path: String,
    /// The condition, by name.
    pub condition: String,
    /// What became of it.
    pub kind: Kind,
    /// Code of the cause: of a difference, or of what is good though streams differ.
    pub cause: Option<String>,
    /// Why it was not covered, if it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gap: Option<Gap>,
    /// In words.
    pub reason: String,
    /// The first field that differs: left as derived first, right under the condition.
    pub difference: Option<Difference>,
    /// Instructions of both, side by side, where they differ: as derived first on the left. Cut at [`SIDES`] lines.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sides: Vec<UnitLines>,
    /// The digests as derived first.
    pub first: Option<Digests>,
    /// The digests under the condition.
    pub second: Option<Digests>,
}

/// Compares what a run has landed with a fresh derivation: the digest of the facts, and the `marshal_digest` of the row, which that is not made of.
#[must_use]
pub fn judge_landed(condition: &str, file: &SourceFile, landed: &FileFacts, marshal: Option<&str>, fresh: &Derived) -> Verdict {
    let verdict = verdict_of(condition, file, Some(fresh.digests.clone()), None);
    let fresh_marshal = fresh.digests.marshal.map(hex::encode);
    if landed.facts == fresh.digests.facts && marshal == fresh_marshal.as_deref() {
        return verdict(Kind::Good, None, String::new(), None);
    }
    if let Some(failure) = limited(&fresh.compiled) {
        return verdict(
            Kind::Fail,
            Some(cause::of_failure(failure, fresh)),
            format!("the derivation failed: {}: {}", failure.error_type, failure.message),
            None,
        );
    }
    let difference = if landed.facts == fresh.digests.facts {
        let shown = |digest: Option<&str>| digest.unwrap_or("none").to_owned();
        Difference::of_file(FieldKind::Column, "marshal_digest", shown(marshal), shown(fresh_marshal.as_deref()))
    } else {
        Difference::of_file(FieldKind::Column, "facts_digest", hex::encode(landed.facts), hex::encode(fresh.digests.facts))
    };
    let reason = "what the run has landed is not what compiling gives: a cache entry, or the row, was changed".to_owned();
    verdict(Kind::Bad, Some("X01"), reason, Some(difference))
}

/// What CPython's `dis` came to for a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// How many values differ from those of the analysis.
    pub differences: u64,
    /// The first of them, by its column and in words.
    pub first: Option<(String, String)>,
    /// Why there is no telling, if there is none: the type of the error, and its words.
    pub failure: Option<(String, String)>,
}

/// Compares a derivation with what `dis` says.
#[must_use]
pub fn judge_dis(condition: &str, file: &SourceFile, fresh: &Derived, judged: &Judged) -> Verdict {
    let verdict = verdict_of(condition, file, Some(fresh.digests.clone()), None);
    if let Some((column, said)) = &judged.first {
        let (ours, theirs) = said.split_once(", CPython ").unwrap_or((said, ""));
        let found = Difference::of_file(FieldKind::Column, column, ours.trim_start_matches("ours "), theirs);
        let more = judged.differences.saturating_sub(1);
        let more = if more > 0 { format!(", and {more} other values differ") } else { String::new() };
        return verdict(Kind::Bad, Some("X02"), format!("dis says otherwise: {column}: {said}{more}"), Some(found));
    }
    match &judged.failure {
        Some((error_type, message)) => verdict(Kind::Fail, Some("C28"), format!("{error_type}: {message}"), None),
        None => verdict(Kind::Good, None, String::new(), None),
    }
}

/// Compares two derivations of a file.
#[must_use]
pub fn judge(name: &str, condition: &Condition, file: &SourceFile, first: &Derived, second: &Derived) -> Verdict {
    let verdict = verdict_of(name, file, Some(first.digests.clone()), Some(second.digests.clone()));
    let (a, b) = (&first.digests, &second.digests);
    if a.facts == b.facts && a.marshal == b.marshal {
        if a.raw == b.raw {
            return verdict(Kind::Good, None, String::new(), None);
        }
        let (Outcome::Code(one), Outcome::Code(other)) = (&first.compiled.outcome, &second.compiled.outcome) else {
            return verdict(Kind::Good, None, String::new(), None);
        };
        let found = stream::compare(one, other).unwrap_or_default();
        let reason = format!("the marshal streams differ, the facts do not: {}", found.summary());
        return verdict(Kind::Good, Some(cause::of_stream(condition, &found)), reason, None);
    }
    // Whichever met a limit, it says nothing of the other: a first derivation on a busy machine would be a finding under each condition.
    let met = limited(&second.compiled).map(|failure| ("second", failure, first));
    let met = met.or_else(|| limited(&first.compiled).map(|failure| ("first", failure, second)));
    if let Some((which, failure, other)) = met {
        let reason = format!("the {which} derivation failed: {}: {}", failure.error_type, failure.message);
        return verdict(Kind::Fail, Some(cause::of_failure(failure, other)), reason, None);
    }
    let found = compare(&first.compiled, &second.compiled);
    let (kind, code) = match cause::of_order(condition, first, second) {
        Some(code) => (Kind::Good, code),
        None => (Kind::Bad, cause::of_difference(condition, &file.source, first, second, &found)),
    };
    let title = cause::by_code(code).map_or("", |cause| cause.title);
    let inside = if found.unit.is_empty() { String::new() } else { format!(" of {}", found.unit) };
    let reason = format!("{title}: {}{inside} is {} first and {} under the condition", found.field, found.left, found.right);
    let sides = if kind == Kind::Bad { side_by_side(&first.compiled, &second.compiled) } else { Vec::new() };
    Verdict { sides, ..verdict(kind, Some(code), reason, Some(found)) }
}

/// The instructions that differ between two answers of workers.
fn side_by_side(first: &Compiled, second: &Compiled) -> Vec<UnitLines> {
    let code = |compiled: &Compiled| match &compiled.outcome {
        Outcome::Code(bytes) => marshal::read_code(bytes).ok(),
        Outcome::Failed(_) => None,
    };
    let both = code(first).zip(code(second));
    both.map_or_else(Vec::new, |(first, second)| edits::cut(edits::of_code(&first, &second, AROUND), SIDES))
}

fn verdict_of(
    condition: &str,
    file: &SourceFile,
    first: Option<Digests>,
    second: Option<Digests>,
) -> impl FnOnce(Kind, Option<&'static str>, String, Option<Difference>) -> Verdict {
    let (repo, path, condition) = (file.repo.clone(), file.path.clone(), condition.to_owned());
    move |kind, cause, reason, difference| Verdict {
        repo,
        path,
        condition,
        kind,
        cause: cause.map(str::to_owned),
        gap: None,
        reason,
        difference,
        sides: Vec::new(),
        first,
        second,
    }
}

/// A verdict on what was not covered; `detail` says more of why.
#[must_use]
pub fn unknown(name: &Name, condition: &str, gap: Gap, detail: &str) -> Verdict {
    let reason = if detail.is_empty() { gap.reason().to_owned() } else { format!("{}: {detail}", gap.reason()) };
    Verdict { gap: Some(gap), ..without_digests(name, condition, Kind::Unknown, gap.cause(), reason) }
}

/// A verdict on what no worker could derive under a condition.
#[must_use]
pub fn no_worker(name: &Name, condition: &str, error: &NightError) -> Verdict {
    without_digests(name, condition, Kind::Fail, Some("X03"), error.to_string())
}

/// A verdict on a file that is not derived, since whoever tried it alone died of it.
#[must_use]
pub fn killer(name: &Name, condition: &str, reason: &str) -> Verdict {
    without_digests(name, condition, Kind::Fail, Some("C28"), reason.to_owned())
}

fn without_digests(name: &Name, condition: &str, kind: Kind, cause: Option<&str>, reason: String) -> Verdict {
    Verdict {
        repo: name.repo.clone(),
        path: name.path.clone(),
        condition: condition.to_owned(),
        kind,
        cause: cause.map(str::to_owned),
        gap: None,
        reason,
        difference: None,
        sides: Vec::new(),
        first: None,
        second: None,
    }
}

/// A failure that a limit or a crash decided, and that the source alone does not.
fn limited(compiled: &Compiled) -> Option<&Diagnostic> {
    match &compiled.outcome {
        Outcome::Failed(failure) if !compiled.is_reproducible() => Some(failure),
        _ => None,
    }
}

/// The first difference between two answers of workers.
fn compare(first: &Compiled, second: &Compiled) -> Difference {
    let error = |failure: &Diagnostic| {
        let n = |n: Option<i32>| n.map_or_else(|| "?".to_owned(), |n| n.to_string());
        format!("{} at {}:{}: {}", failure.error_type, n(failure.line1), n(failure.col), failure.message)
    };
    match (&first.outcome, &second.outcome) {
        (Outcome::Code(one), Outcome::Code(other)) => {
            let found = match (marshal::read_code(one), marshal::read_code(other)) {
                (Ok(one), Ok(other)) => difference::of_code(&one, &other),
                (one, other) => {
                    let said = |side: Result<_, marshal::MarshalError>| side.map_or_else(|error| error.to_string(), |_| "code".to_owned());
                    Some(Difference::of_file(FieldKind::Outcome, "marshalled code", said(one), said(other)))
                }
            };
            found.unwrap_or_else(|| {
                let warnings = |compiled: &Compiled| {
                    compiled
                        .warnings
                        .iter()
                        .map(|warning| format!("{} at {:?}", warning.error_type, warning.line1))
                        .collect::<Vec<_>>()
                        .join(", ")
                };
                Difference::of_file(FieldKind::Warnings, "warnings", warnings(first), warnings(second))
            })
        }
        (Outcome::Failed(one), Outcome::Failed(other)) => Difference::of_file(FieldKind::Outcome, "error", error(one), error(other)),
        (Outcome::Code(_), Outcome::Failed(failure)) => Difference::of_file(FieldKind::Outcome, "outcome", "code", error(failure)),
        (Outcome::Failed(failure), Outcome::Code(_)) => Difference::of_file(FieldKind::Outcome, "outcome", error(failure), "code"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn files(n: u32) -> Vec<(Name, FileFacts)> {
        let file = |n: u32| {
            let name = Name { repo: Some(format!("r{}", n % 7)), path: format!("m{n}.py") };
            let source = Blake2b::<blake2::digest::consts::U32>::digest(n.to_le_bytes()).into();
            (name, FileFacts { source: (n % 100 != 99).then_some(source), facts: [0; 32] })
        };
        (0..n).map(file).collect()
    }

    #[test]
    fn nights_cover_each_file_once_in_whatever_order_it_is_listed() {
        let files = files(5_000);
        let mut reversed = files.clone();
        reversed.reverse();
        let mut covered = BTreeSet::new();
        for night in 20_000..20_007 {
            let sample = sample(&files, night, 7, 64);
            let again = super::sample(&reversed, night, 7, 64);
            assert_eq!(sample.bins, again.bins);
            assert_eq!(sample.unreadable, 50);
            let of_night: u64 = sample.bins.iter().map(|bin| bin.len() as u64).sum();
            assert_eq!(of_night + sample.other_nights + sample.unreadable, 5_000);
            assert!((500..900).contains(&of_night), "{of_night}: nights are about equal");
            for (name, _) in sample.bins.into_iter().flatten() {
                assert!(covered.insert(name.clone()), "{name:?} is covered twice");
            }
        }
        assert_eq!(covered.len(), 4_950);
    }

    #[test]
    fn a_budget_that_is_too_small_leaves_no_file_out_for_ever() {
        let files = files(1_000);
        let nights = 2;
        for (share, first, turns) in [(2, 2_000, 2), (2, 2_001, 3), (2, 2_003, 3), (4, 2_000, 4), (4, 2_001, 7), (5, 2_003, 15)] {
            let mut covered = BTreeSet::new();
            for night in first * nights..(first + turns) * nights {
                let bins = sample(&files, night, nights, 16).bins;
                let enough = bins.len().div_ceil(share);
                covered.extend(bins.into_iter().take(enough).flatten().map(|(name, _)| name));
            }
            assert_eq!(covered.len(), 990, "{turns} turns from {first} on, with a budget for one of {share} parts of the sample");
        }
        assert!((0..1_000).all(|turn| beginning(turn, 0) == 0 && beginning(turn, 1) == 0 && beginning(turn, 3) < 3));
    }

    #[test]
    fn a_new_file_changes_no_other_files_night() {
        let of =
            |files: &[(Name, FileFacts)]| sample(files, 3, 5, 10).bins.into_iter().flatten().map(|(name, _)| name).collect::<BTreeSet<_>>();
        let files = files(300);
        assert!(of(&files[1..]).is_subset(&of(&files)));
    }
}
