//! Where a corpus or a root of facts is: a URI, or a path of this machine.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use object_store::path::Path as ObjectPath;
use serde::{Deserialize, Serialize};
use url::Url;

/// Schemes of object stores that are understood, beside `file`.
const OBJECT_SCHEMES: [&str; 7] = ["s3", "s3a", "gs", "az", "azure", "abfs", "abfss"];

/// Why a text is no location.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LocationError {
    /// Nothing at all.
    #[error("a location must not be empty")]
    Empty,
    /// Not a URI although it looks like one.
    #[error("cannot parse {text:?} as a URI: {source}")]
    Syntax {
        /// The text.
        text: String,
        /// The parser's own account.
        source: url::ParseError,
    },
    /// A scheme that no store answers to.
    #[error("scheme {scheme:?} is not supported: use a path, file://, s3://, gs://, az:// or abfss://")]
    Scheme {
        /// The scheme.
        scheme: String,
    },
    /// `s3:///prefix`.
    #[error("{text:?} names no bucket: write {scheme}://bucket/prefix")]
    NoBucket {
        /// The text.
        text: String,
        /// Its scheme.
        scheme: String,
    },
    /// `?` or `#`, which would cut the path short.
    #[error("{text:?} holds a query or fragment: write '?' as %3F and '#' as %23")]
    Query {
        /// The text.
        text: String,
    },
    /// `s3://key:secret@bucket`. The text is not repeated, since it holds a secret.
    #[error("credentials do not belong into a location: the environment supplies them")]
    Credentials,
    /// A `file://` URI that is no path of this machine.
    #[error("{text:?} is no path of this machine")]
    NotLocal {
        /// The text.
        text: String,
    },
    /// A prefix that no object key can have.
    #[error("{text:?} cannot be a prefix of object keys")]
    Prefix {
        /// The text.
        text: String,
    },
}

/// A place in a file system or an object store, in canonical form: `file:///abs/path` or `s3://bucket/prefix`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Location {
    url: Url,
    root: Root,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Root {
    Local(PathBuf),
    Objects(ObjectPath),
}

impl Location {
    /// Understands a URI or a path. A relative path starts from the current folder.
    ///
    /// # Errors
    /// If the text is neither, or names a scheme that is not supported.
    pub fn parse(text: &str) -> Result<Self, LocationError> {
        match scheme_of(text) {
            None if text.is_empty() => Err(LocationError::Empty),
            None => Self::local(Path::new(text)),
            Some(_) => Self::from_uri(text),
        }
    }

    /// The location of a path of this machine.
    ///
    /// # Errors
    /// If the path is empty, or relative while the current folder is unknown.
    pub fn local(path: &Path) -> Result<Self, LocationError> {
        let not_local = || LocationError::NotLocal { text: path.display().to_string() };
        let absolute = std::path::absolute(path).map_err(|_| not_local())?;
        let path = without_dots(&absolute);
        let url = Url::from_file_path(&path).map_err(|()| not_local())?;
        Ok(Self { url, root: Root::Local(path) })
    }

    fn from_uri(text: &str) -> Result<Self, LocationError> {
        let mut url = Url::parse(text).map_err(|source| LocationError::Syntax { text: text.to_owned(), source })?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(LocationError::Credentials);
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(LocationError::Query { text: text.to_owned() });
        }
        if url.scheme() == "file" {
            let path = url.to_file_path().map_err(|()| LocationError::NotLocal { text: text.to_owned() })?;
            return Self::local(&path);
        }
        let scheme = url.scheme().to_owned();
        if !OBJECT_SCHEMES.contains(&scheme.as_str()) {
            return Err(LocationError::Scheme { scheme });
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(LocationError::NoBucket { text: text.to_owned(), scheme });
        }
        let prefix = ObjectPath::from_url_path(url.path()).map_err(|_| LocationError::Prefix { text: text.to_owned() })?;
        let trimmed = url.path().trim_end_matches('/').to_owned();
        url.set_path(&trimmed);
        Ok(Self { url, root: Root::Objects(prefix) })
    }

    /// The canonical URI, without a slash at its end.
    pub fn uri(&self) -> &str {
        self.url.as_str()
    }

    /// The canonical URI.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The path, if it is one of this machine.
    pub fn local_path(&self) -> Option<&Path> {
        match &self.root {
            Root::Local(path) => Some(path),
            Root::Objects(_) => None,
        }
    }

    /// The prefix of its keys, if it is in an object store.
    pub fn object_prefix(&self) -> Option<&ObjectPath> {
        match &self.root {
            Root::Local(_) => None,
            Root::Objects(prefix) => Some(prefix),
        }
    }
}

/// The scheme of `text` if it is a URI: `name://…`, or `file:/…`.
fn scheme_of(text: &str) -> Option<&str> {
    if text.get(..6).is_some_and(|head| head.eq_ignore_ascii_case("file:/")) {
        return text.get(..4);
    }
    let (scheme, _) = text.split_once("://")?;
    let valid =
        scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+.-".contains(c));
    valid.then_some(scheme)
}

/// The absolute path without `..`, which object keys cannot hold.
///
/// A folder in front of `..` may be a symbolic link, so the system is asked first.
fn without_dots(absolute: &Path) -> PathBuf {
    if !absolute.components().any(|c| c == Component::ParentDir) {
        return absolute.components().collect();
    }
    if let Ok(canonical) = absolute.canonicalize() {
        return canonical;
    }
    let mut path = PathBuf::new();
    for component in absolute.components() {
        if component == Component::ParentDir {
            path.pop();
        } else {
            path.push(component);
        }
    }
    path
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri())
    }
}

impl FromStr for Location {
    type Err = LocationError;

    fn from_str(text: &str) -> Result<Self, LocationError> {
        Self::parse(text)
    }
}

impl TryFrom<String> for Location {
    type Error = LocationError;

    fn try_from(text: String) -> Result<Self, LocationError> {
        Self::parse(&text)
    }
}

impl From<Location> for String {
    fn from(location: Location) -> Self {
        location.url.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> String {
        Location::parse(text).unwrap().uri().to_owned()
    }

    #[test]
    fn paths_become_file_uris() {
        assert_eq!(uri("/a/b c/ä"), "file:///a/b%20c/%C3%A4");
        assert_eq!(uri("/a//b/./"), "file:///a/b");
        assert_eq!(uri("/no-such-folder/../b"), "file:///b");
        let here = std::env::current_dir().unwrap();
        assert_eq!(Location::parse("x").unwrap().local_path(), Some(here.join("x").as_path()));
        assert_eq!(Location::parse(".").unwrap().local_path(), Some(here.as_path()));
    }

    #[test]
    fn file_uris_become_paths() {
        for text in ["file:///a/b%20c", "file:/a/b%20c/", "FILE:///a/b%20c"] {
            let location = Location::parse(text).unwrap();
            assert_eq!(location.local_path(), Some(Path::new("/a/b c")), "{text}");
            assert_eq!(location.uri(), "file:///a/b%20c", "{text}");
        }
    }

    #[test]
    fn object_uris_split_into_bucket_and_prefix() {
        let location = Location::parse("s3://my-bucket/corpora/2025 a/").unwrap();
        assert_eq!(location.uri(), "s3://my-bucket/corpora/2025%20a");
        assert_eq!(location.object_prefix().unwrap().as_ref(), "corpora/2025 a");
        assert!(location.local_path().is_none());
        let bare = Location::parse("gs://bucket").unwrap();
        assert_eq!(bare.object_prefix().unwrap().as_ref(), "");
        assert_eq!(uri("s3://bucket/"), uri("s3://bucket"));
    }

    #[test]
    fn what_is_no_location_says_why() {
        for (text, says) in [
            ("", "must not be empty"),
            ("ftp://host/x", "\"ftp\" is not supported"),
            ("s3:///x", "names no bucket"),
            ("s3://b/x?y", "write '?' as %3F"),
            ("s3://b/x#y", "write '?' as %3F"),
            ("s3://key:secret@b/x", "credentials do not belong"),
            ("file://elsewhere/x", "no path of this machine"),
        ] {
            let error = Location::parse(text).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }

    #[test]
    fn the_canonical_form_is_stable() {
        for text in ["/a/b c", "s3://b/p/ä", "gs://b", "abfss://c/x"] {
            let location = Location::parse(text).unwrap();
            let json = serde_json::to_string(&location).unwrap();
            assert_eq!(serde_json::from_str::<Location>(&json).unwrap(), location);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_path_of_any_bytes_survives_its_uri() {
        use std::ffi::OsStr;
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(OsStr::from_bytes(b"/a/\xff"));
        let location = Location::local(path).unwrap();
        assert_eq!(location.uri(), "file:///a/%FF");
        assert_eq!(Location::parse(location.uri()).unwrap().local_path(), Some(path));
    }
}
