//! Where jobs may read and write. Whoever reaches a scheduler can hand it a job, and there is no authentication: daemons that others can reach do
//! what their lists allow, and nothing else.

use std::fmt;
use std::path::{Path, PathBuf};

use bytefacts_corpus::{Location, LocationError};
use object_store::path::Path as ObjectPath;
use url::Url;

/// What of one kind, corpora or facts, is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Allowed {
    /// All of it, for processes that only their own user reaches.
    #[default]
    Everything,
    /// What lies at or below one of these places.
    Below(Vec<Location>),
    /// None of it: nobody has said what is allowed.
    Unsaid,
}

impl Allowed {
    /// What a list of places allows; `*` is everything.
    ///
    /// # Errors
    /// When a text is neither `*` nor a place.
    pub fn of(places: &[String]) -> Result<Self, LocationError> {
        if places.iter().any(|place| place == "*") {
            return Ok(Self::Everything);
        }
        places.iter().map(|place| Location::parse(place)).collect::<Result<_, _>>().map(Self::Below)
    }

    fn has(&self, location: &Location) -> bool {
        match self {
            Self::Everything => true,
            Self::Below(places) => places.iter().any(|place| is_at_or_below(location, place)),
            Self::Unsaid => false,
        }
    }
}

/// What jobs may read and write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Where corpora may be, which are read.
    pub corpus: Allowed,
    /// Where facts may be, which are read and written.
    pub facts: Allowed,
}

impl Access {
    /// Refuses a corpus that is not allowed.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn corpus(&self, text: &str) -> Result<(), Refused> {
        self.check(Kind::Corpus, &self.corpus, text)
    }

    /// Refuses facts that are not allowed.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn facts(&self, text: &str) -> Result<(), Refused> {
        self.check(Kind::Facts, &self.facts, text)
    }

    /// Whether an object at a path of the store at `root` (`s3://bucket/`, `file:///`) is a part of facts that are allowed.
    #[must_use]
    pub fn has_object_of_facts(&self, root: &Url, object: &ObjectPath) -> bool {
        match &self.facts {
            Allowed::Everything => true,
            Allowed::Unsaid => false,
            Allowed::Below(places) => places.iter().any(|place| match (place.local_path(), place.object_prefix()) {
                (Some(folder), _) => {
                    root.scheme() == "file" && resolved(&Path::new("/").join(object.as_ref())).starts_with(resolved(folder))
                }
                (None, Some(prefix)) => {
                    let same_store = (root.scheme(), root.authority()) == (place.url().scheme(), place.url().authority());
                    same_store && object.prefix_matches(prefix)
                }
                (None, None) => false,
            }),
        }
    }

    fn check(&self, kind: Kind, allowed: &Allowed, text: &str) -> Result<(), Refused> {
        let location = canonical(kind, text)?;
        if allowed.has(&location) {
            return Ok(());
        }
        let place = location.uri().to_owned();
        Err(if *allowed == Allowed::Unsaid { Refused::Unsaid { kind, place } } else { Refused::Outside { kind, place } })
    }
}

/// The place that a text names, if it is written as [`Location`] writes it.
fn canonical(kind: Kind, text: &str) -> Result<Location, Refused> {
    let no_place = |reason: String| Refused::NoPlace { kind, text: text.to_owned(), reason };
    let location = Location::parse(text).map_err(|error| no_place(error.to_string()))?;
    if location.uri() == text {
        return Ok(location);
    }
    Err(no_place(format!("it is written {}", location.uri())))
}

/// What a place is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// To be read as a corpus.
    Corpus,
    /// To be read and written as facts.
    Facts,
}

impl Kind {
    /// The key in the settings.
    fn key(self) -> &'static str {
        match self {
            Self::Corpus => "corpus",
            Self::Facts => "facts",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.key())
    }
}

/// Why a job is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The lists do not have it.
    #[error("the {kind} {place} is not allowed here: it is not at or below one of the places of `access.{kind}`")]
    Outside {
        /// What it is wanted for.
        kind: Kind,
        /// The place.
        place: String,
    },
    /// There are no lists.
    #[error(
        "the {kind} {place} is not allowed here: others reach this daemon, and its settings do not say which {kind} they may name; set \
         `access.{kind}` (BYTEFACTS_ACCESS__{}) to a list of places, or to ['*'] for all", kind.key().to_uppercase()
    )]
    Unsaid {
        /// What it is wanted for.
        kind: Kind,
        /// The place.
        place: String,
    },
    /// It is no place that jobs name.
    #[error("the {kind} {text:?} is not how a job names a place: {reason}")]
    NoPlace {
        /// What it is wanted for.
        kind: Kind,
        /// What the job says.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
}

/// Whether a location is a place or lies below it. Names are compared one by one, so that `/data/corpus2` is not below `/data/corpus`.
fn is_at_or_below(location: &Location, place: &Location) -> bool {
    match (location.local_path(), place.local_path()) {
        (Some(path), Some(root)) => resolved(path).starts_with(resolved(root)),
        (None, None) => {
            let authority = |location: &Location| (location.url().scheme().to_owned(), location.url().authority().to_owned());
            let (Some(prefix), Some(root)) = (location.object_prefix(), place.object_prefix()) else { return false };
            authority(location) == authority(place) && prefix.prefix_matches(root)
        }
        _ => false,
    }
}

/// Where a path really leads, over all links, as far as it exists.
fn resolved(path: &Path) -> PathBuf {
    for ancestor in path.ancestors() {
        if let Ok(real) = ancestor.canonicalize() {
            return path.strip_prefix(ancestor).map_or_else(|_| real.clone(), |rest| real.join(rest));
        }
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn list(places: &[&str]) -> Allowed {
        Allowed::of(&places.iter().map(|place| (*place).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    fn allows(places: &[&str], text: &str) -> bool {
        Access { corpus: list(places), facts: Allowed::Unsaid }.corpus(text).is_ok()
    }

    #[test]
    fn a_place_allows_itself_and_what_is_below() {
        for (place, text, allowed) in [
            ("s3://bucket/corpora", "s3://bucket/corpora", true),
            ("s3://bucket/corpora", "s3://bucket/corpora/a", true),
            ("s3://bucket/corpora/", "s3://bucket/corpora/a", true),
            ("s3://bucket", "s3://bucket/anything", true),
            ("s3://bucket/corpora", "s3://bucket/corpora2", false),
            ("s3://bucket/corpora", "s3://bucket", false),
            ("s3://bucket/corpora", "s3://bucket2/corpora", false),
            ("s3://bucket/corpora", "gs://bucket/corpora", false),
            ("s3://bucket/corpora", "s3a://bucket/corpora", false),
            ("/no-such/corpus", "file:///no-such/corpus/x", true),
            ("/no-such/corpus", "file:///no-such/corpus2", false),
            ("/", "file:///etc", true),
            ("s3://bucket", "file:///etc", false),
        ] {
            assert_eq!(allows(&[place], text), allowed, "{text} below {place}");
        }
        assert!(!allows(&[], "s3://bucket/x"), "an empty list allows nothing");
        assert!(allows(&["s3://a", "*"], "gs://anything/x"));
    }

    #[test]
    fn a_text_that_leads_elsewhere_is_refused_whatever_it_begins_with() {
        for text in [
            "s3://bucket/corpora/../secrets",
            "s3://bucket/corpora/%2e%2e/secrets",
            "s3://bucket/corpora/%2E./secrets",
            "s3://bucket/corpora/..%2Fsecrets",
            "s3://bucket/corpora//a",
            "s3://bucket/corpora/a/",
            "S3://bucket/corpora/a",
            "s3://user@bucket/corpora/a",
            "s3://bucket/corpora/a?x",
            "s3://bucket/corpora/a#x",
            "http://bucket/corpora/a",
            "https://bucket/corpora/a",
            "memory:///corpora",
            "corpora/a",
            "",
        ] {
            assert!(!allows(&["s3://bucket/corpora"], text), "{text}");
        }
        for text in
            ["file:///data/corpus/../x", "file:///data/corpus/..%2Fx", "file:/data/corpus/x", "file://host/data/corpus/x", "/data/corpus/x"]
        {
            assert!(!allows(&["/data/corpus"], text), "{text}");
        }
    }

    #[test]
    fn a_link_allows_what_it_leads_to_and_no_link_leads_out() {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let uri = |name: &str| Location::local(&path(name)).unwrap().uri().to_owned();
        for folder in ["corpus/a", "secrets", "elsewhere"] {
            std::fs::create_dir_all(path(folder)).unwrap();
        }
        std::os::unix::fs::symlink(path("secrets"), path("corpus/out")).unwrap();
        std::os::unix::fs::symlink(path("corpus"), path("link")).unwrap();
        let corpus = path("corpus").display().to_string();
        let link = path("link").display().to_string();
        for (place, name, allowed) in [
            (&corpus, "corpus/a", true),
            (&corpus, "corpus/new/facts", true),
            (&corpus, "corpus/out", false),
            (&corpus, "corpus/out/new", false),
            (&corpus, "elsewhere", false),
            (&corpus, "link/a", true),
            (&link, "corpus/a", true),
            (&link, "link/a", true),
            (&link, "link/out", false),
        ] {
            assert_eq!(allows(&[place], &uri(name)), allowed, "{name} below {place}");
        }
    }

    #[test]
    fn what_nobody_has_allowed_says_what_to_set() {
        let access = Access { corpus: Allowed::Unsaid, facts: Allowed::Everything };
        let said = access.corpus("s3://bucket/x").unwrap_err().to_string();
        assert!(said.contains("`access.corpus`") && said.contains("BYTEFACTS_ACCESS__CORPUS"), "{said}");
        access.facts("s3://bucket/x").unwrap();
        let said = Access { corpus: list(&["s3://a"]), ..Access::default() }.corpus("s3://b/x").unwrap_err().to_string();
        assert!(said.contains("s3://b/x") && said.contains("`access.corpus`"), "{said}");
    }

    #[test]
    fn an_object_of_facts_lies_below_an_allowed_place() {
        let home = tempfile::tempdir().unwrap();
        for folder in ["facts/runs", "secrets"] {
            std::fs::create_dir_all(home.path().join(folder)).unwrap();
        }
        std::os::unix::fs::symlink(home.path().join("secrets"), home.path().join("facts/out")).unwrap();
        let local = |name: &str| home.path().join(name).display().to_string();
        let object = |name: &str| local(name).trim_start_matches('/').to_owned();
        for (place, root, path, allowed) in [
            ("s3://bucket/facts".to_owned(), "s3://bucket/", "facts/a.parquet".to_owned(), true),
            ("s3://bucket/facts".to_owned(), "s3://bucket/", "facts2/a.parquet".to_owned(), false),
            ("s3://bucket/facts".to_owned(), "s3://bucket2/", "facts/a.parquet".to_owned(), false),
            ("s3://bucket/facts".to_owned(), "gs://bucket/", "facts/a.parquet".to_owned(), false),
            ("s3://bucket/facts".to_owned(), "file:///", "facts/a.parquet".to_owned(), false),
            ("*".to_owned(), "s3://any/", "x".to_owned(), true),
            (local("facts"), "file:///", object("facts/runs/x"), true),
            (local("facts"), "file:///", object("facts2/x"), false),
            (local("facts"), "file:///", object("secrets/x"), false),
            (local("facts"), "file:///", object("facts/out/x"), false),
            (local("facts"), "s3://bucket/", object("facts/x"), false),
        ] {
            let access = Access { corpus: Allowed::Everything, facts: list(&[&place]) };
            let found = access.has_object_of_facts(&Url::parse(root).unwrap(), &ObjectPath::parse(&path).unwrap());
            assert_eq!(found, allowed, "{root} {path} below {place}");
        }
        let unsaid = Access { corpus: Allowed::Everything, facts: Allowed::Unsaid };
        assert!(!unsaid.has_object_of_facts(&Url::parse("s3://any/").unwrap(), &ObjectPath::from("x")));
    }

    proptest! {
        /// Whatever the text: if it is let through, the object store that is opened for it lies below the place.
        #[test]
        fn what_is_let_through_opens_below_the_place(rest in "[a./%2eEfF\\\\~ -]{0,12}") {
            let text = format!("s3://bucket/corpora{rest}");
            if allows(&["s3://bucket/corpora"], &text) {
                let place = crate::registry::Stores::default().open(&text).unwrap();
                let parts: Vec<_> = place.path.parts().map(|part| part.as_ref().to_owned()).collect();
                prop_assert_eq!(parts.first().map(String::as_str), Some("corpora"));
                prop_assert!(!parts.iter().any(|part| part == ".."));
            }
        }
    }
}
