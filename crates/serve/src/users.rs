//! The users file: who may ask, and what shows that it is them.
//!
//! ```yaml
//! users:
//!   - name: ada
//!     password: $argon2id$v=19$m=19456,t=2,p=1$…        # argon2 "$(openssl rand -hex 16)" -id -e
//!     tokens:
//!       - {sha256: 9f86d0…, expires: 2027-01-01T00:00:00Z}   # openssl rand -hex 32; sha256sum of that
//!     operator: true                                    # sees what all others ask
//!     limits: {seconds: 60, rows: 1000000, memory_bytes: 268435456, queries: 4}
//! ```
//!
//! It is read again when it has changed.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use argon2::password_hash::PasswordVerifier as _;
use argon2::{Argon2, PasswordHash};
use bytefacts_tls::Watched;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::sync::Semaphore;

use crate::error::ServeError;
use crate::lock::lock;
use crate::options::{MOST_SECONDS, OwnLimits};
use crate::seal::{Purpose, Seal};

/// Passwords that are checked at a time: each takes a core and some 20 MB for some milliseconds, which is what makes guessing dear.
const CHECKS: usize = 2;

/// A user.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct User {
    /// The name.
    pub(crate) name: String,
    #[serde(default)]
    password: Option<String>,
    #[serde(default)]
    tokens: Vec<Token>,
    /// Whether it sees what others ask.
    #[serde(default)]
    pub(crate) operator: bool,
    /// Limits of its own.
    #[serde(default)]
    pub(crate) limits: OwnLimits,
}

/// A token, by what it hashes to.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Token {
    sha256: String,
    #[serde(default)]
    expires: Option<String>,
}

impl User {
    /// Whether it has the token of this hash, and that has not expired.
    pub(crate) fn has_token(&self, sha256: &str) -> bool {
        self.tokens.iter().any(|token| token.sha256.eq_ignore_ascii_case(sha256) && token.expires_at().is_none_or(|at| now_seconds() < at))
    }

    /// Changes with what shows that it is this user, so that logins end when it is taken away.
    pub(crate) fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        hash.update(format!("{}\0{:?}", self.name, self.password));
        hex::encode(hash.finalize())
    }
}

impl Token {
    /// In seconds since 1970; what is no time was refused when the file was read.
    fn expires_at(&self) -> Option<u64> {
        self.expires.as_deref().and_then(|text| seconds_of(text).ok())
    }
}

/// A token by which somebody was let in.
#[derive(Clone, Debug)]
pub(crate) struct UsedToken {
    /// What it hashes to.
    pub(crate) sha256: String,
    /// When it expires, in seconds since 1970.
    pub(crate) expires: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    users: Vec<User>,
}

/// What the file says.
struct Loaded {
    users: Vec<User>,
    /// The hash that takes longest to check: for names that nobody has.
    costliest: String,
    /// Codes of passwords that were found right, so that each is checked once.
    right: Mutex<BTreeSet<[u8; 32]>>,
}

/// The users of a file.
pub struct Users {
    file: Watched<Loaded>,
    seal: Seal,
    checks: Arc<Semaphore>,
}

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Denied {
    /// Whether the name or the password is wrong is not told.
    #[error("the user name or the password is wrong")]
    Password,
    /// It is nobody's.
    #[error("the token is not known here")]
    Token,
    /// It was somebody's.
    #[error("the token has expired")]
    Expired,
    /// Too many passwords are being checked.
    #[error("too many logins at a time: try again in a moment")]
    Busy,
}

impl Users {
    /// Those of a file.
    ///
    /// # Errors
    /// When it cannot be read or says what is wrong.
    pub fn read(path: &Path) -> Result<Self, ServeError> {
        let file = Watched::new(vec![path.to_owned()], |files| load(files.first().ok_or("there is no file")?));
        let file = file.map_err(|reason| ServeError::Users { path: path.display().to_string(), reason })?;
        Ok(Self { file, seal: Seal::random()?, checks: Arc::new(Semaphore::new(CHECKS)) })
    }

    /// The user of this name.
    pub(crate) fn named(&self, name: &str) -> Option<User> {
        self.file.now().users.iter().find(|user| user.name == name).cloned()
    }

    /// The user of this name and password.
    pub(crate) async fn by_password(&self, name: &str, password: &str) -> Result<User, Denied> {
        let loaded = self.file.now();
        let user = loaded.users.iter().find(|user| user.name == name && user.password.is_some());
        let hash = user.and_then(|user| user.password.clone());
        let code = self.seal.code(Purpose::Password, &format!("{name}\0{password}\0{hash:?}"));
        if user.is_some() && lock(&loaded.right).contains(&code) {
            return user.cloned().ok_or(Denied::Password);
        }
        let wait = tokio::time::timeout(Duration::from_secs(10), Arc::clone(&self.checks).acquire_owned());
        let turn = wait.await.map_err(|_| Denied::Busy)?.map_err(|_| Denied::Busy)?;
        // For a name that nobody has, as long as for one that somebody has.
        let hash = hash.unwrap_or_else(|| loaded.costliest.clone());
        let password = password.to_owned();
        let check = tokio::task::spawn_blocking(move || {
            // Whoever asked may have gone away; the turn is taken as long as the work goes on.
            let _turn = turn;
            is_right(&password, &hash)
        });
        match (user, check.await) {
            (Some(user), Ok(true)) => {
                lock(&loaded.right).insert(code);
                Ok(user.clone())
            }
            _ => Err(Denied::Password),
        }
    }

    /// The user of this token.
    pub(crate) fn by_token(&self, token: &str) -> Result<(User, UsedToken), Denied> {
        let hash = hex::encode(Sha256::digest(token));
        let loaded = self.file.now();
        // All are compared, each as long as any other.
        let mut found = None;
        for user in &loaded.users {
            for known in &user.tokens {
                if bool::from(known.sha256.to_ascii_lowercase().as_bytes().ct_eq(hash.as_bytes())) {
                    found = Some((user, known));
                }
            }
        }
        let (user, token) = found.ok_or(Denied::Token)?;
        let expires = token.expires_at();
        if expires.is_some_and(|expires| now_seconds() >= expires) {
            return Err(Denied::Expired);
        }
        Ok((user.clone(), UsedToken { sha256: hash, expires }))
    }
}

/// A hash that no password has.
const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$Ym9keW5vYm9keW5v$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

fn is_right(password: &str, hash: &str) -> bool {
    PasswordHash::new(hash).is_ok_and(|hash| Argon2::default().verify_password(password.as_bytes(), &hash).is_ok())
}

/// Seconds since 1970, UTC.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

fn seconds_of(text: &str) -> Result<u64, String> {
    let time =
        chrono::DateTime::parse_from_rfc3339(text).map_err(|error| format!("{text:?} is no time such as 2027-01-01T00:00:00Z: {error}"))?;
    Ok(u64::try_from(time.timestamp()).unwrap_or(0))
}

fn load(path: &Path) -> Result<Loaded, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let users = parse(&text)?;
    let hashes = users.iter().filter_map(|user| user.password.as_deref());
    let costliest = hashes.max_by_key(|hash| cost(hash)).unwrap_or(NOBODY).to_owned();
    Ok(Loaded { users, costliest, right: Mutex::default() })
}

/// What checking a hash takes, as memory times passes.
fn cost(hash: &str) -> u64 {
    let parameter = |name: &str| hash.split(['$', ',']).find_map(|part| part.strip_prefix(name)?.parse::<u64>().ok()).unwrap_or(1);
    parameter("m=").saturating_mul(parameter("t="))
}

/// Where a file is no list of users, without what stands there: it may be a password.
fn without_values(error: &serde_yaml::Error) -> String {
    let text = error.to_string();
    if !["invalid type: ", "invalid value: "].iter().any(|quoting| text.contains(quoting)) {
        return text;
    }
    let place = error.location().map_or_else(String::new, |place| format!(" at line {} column {}", place.line(), place.column()));
    format!("a value is of another type than it should be{place}")
}

fn parse(text: &str) -> Result<Vec<User>, String> {
    let File { users } = serde_yaml::from_str(text).map_err(|error| without_values(&error))?;
    let (mut names, mut tokens) = (BTreeSet::new(), BTreeSet::new());
    for user in &users {
        let name = &user.name;
        if name.is_empty() || name.contains(':') {
            return Err(format!("{name:?} is no name: it is not empty and has no colon"));
        }
        if !names.insert(name) {
            return Err(format!("{name} is there twice"));
        }
        if let Some(password) = &user.password {
            let hash = PasswordHash::new(password).map_err(|error| format!("the password of {name} is no hash: {error}"))?;
            if hash.algorithm.as_str() != "argon2id" {
                return Err(format!("the password of {name} is hashed with {}, not with argon2id", hash.algorithm));
            }
        }
        for token in &user.tokens {
            if token.sha256.len() != 64 || hex::decode(&token.sha256).is_err() {
                return Err(format!("a token of {name} is given by 64 hexadecimal digits, its SHA-256"));
            }
            if !tokens.insert(token.sha256.to_ascii_lowercase()) {
                return Err(format!("a token of {name} is there twice: it is to say who asks"));
            }
            if let Some(expires) = &token.expires {
                seconds_of(expires).map_err(|error| format!("a token of {name}: {error}"))?;
            }
        }
        if user.limits.seconds == Some(0) || user.limits.queries == Some(0) || user.limits.memory_bytes == Some(0) {
            return Err(format!("the limits of {name} let nothing be asked: seconds, queries and memory_bytes are at least 1"));
        }
        if user.limits.seconds.is_some_and(|seconds| seconds > MOST_SECONDS) {
            return Err(format!("the limits of {name}: seconds are at most {MOST_SECONDS}"));
        }
        if user.password.is_none() && user.tokens.is_empty() {
            return Err(format!("{name} has neither a password nor a token"));
        }
    }
    Ok(users)
}

#[cfg(test)]
mod tests {
    use argon2::password_hash::PasswordHasher as _;

    use super::*;

    /// As strong as it must be for a test.
    fn hash(password: &str) -> String {
        let weak = argon2::Params::new(argon2::Params::MIN_M_COST, 1, 1, None).unwrap();
        let argon2 = Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, weak);
        argon2.hash_password_with_salt(password.as_bytes(), b"a salt of a test").unwrap().to_string()
    }

    fn file(text: &str) -> (tempfile::TempDir, Users) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        std::fs::write(&path, text).unwrap();
        let users = Users::read(&path).unwrap();
        (folder, users)
    }

    #[tokio::test]
    async fn passwords_are_checked_and_what_was_right_is_remembered() {
        let (_folder, users) = file(&format!("users: [{{name: ada, password: '{}'}}]", hash("secret")));
        assert_eq!(users.by_password("ada", "secret").await.unwrap().name, "ada");
        assert_eq!(lock(&users.file.now().right).len(), 1);
        assert_eq!(users.by_password("ada", "secret").await.unwrap().name, "ada");
        for (name, password) in [("ada", "Secret"), ("ada", ""), ("bob", "secret"), ("", "")] {
            assert_eq!(users.by_password(name, password).await.unwrap_err(), Denied::Password, "{name} {password}");
        }
        assert_eq!(lock(&users.file.now().right).len(), 1, "what was wrong is not remembered");
    }

    #[tokio::test]
    async fn who_has_tokens_alone_has_no_password() {
        let token = hex::encode(Sha256::digest("t"));
        let (_folder, users) = file(&format!("users: [{{name: ada, tokens: [{{sha256: {token}}}]}}]"));
        assert_eq!(users.by_password("ada", "").await.unwrap_err(), Denied::Password);
        assert_eq!(users.by_token("t").unwrap().0.name, "ada");
    }

    #[test]
    fn tokens_are_known_by_their_hash_and_expire() {
        let (old, new) = (hex::encode(Sha256::digest("old")), hex::encode(Sha256::digest("new")).to_uppercase());
        let text = format!(
            "users: [{{name: ada, tokens: [{{sha256: {old}, expires: 2020-01-01T00:00:00Z}}, {{sha256: {new}, expires: 2999-01-01T00:00:00Z}}]}}]"
        );
        let (_folder, users) = file(&text);
        assert_eq!(users.by_token("new").unwrap().0.name, "ada");
        assert_eq!(users.by_token("old").unwrap_err(), Denied::Expired);
        assert_eq!(users.by_token("other").unwrap_err(), Denied::Token);
    }

    #[tokio::test]
    async fn the_file_is_read_again_and_a_broken_one_changes_nothing() {
        let (folder, users) = file(&format!("users: [{{name: ada, password: '{}'}}]", hash("one")));
        users.by_password("ada", "one").await.unwrap();
        let before = users.named("ada").unwrap().fingerprint();
        let path = folder.path().join("users.yaml");
        std::fs::write(&path, "users: [{name: ada, pasword: x}]").unwrap();
        users.file.look_again();
        users.by_password("ada", "one").await.unwrap();
        std::fs::write(&path, format!("users: [{{name: ada, password: '{}'}}]", hash("two"))).unwrap();
        users.file.look_again();
        assert_eq!(users.by_password("ada", "one").await.unwrap_err(), Denied::Password);
        users.by_password("ada", "two").await.unwrap();
        assert_ne!(users.named("ada").unwrap().fingerprint(), before, "logins of before end");
        std::fs::remove_file(&path).unwrap();
        users.file.look_again();
        users.by_password("ada", "two").await.unwrap();
    }

    #[test]
    fn what_is_wrong_with_a_file_is_said() {
        let good = hash("x");
        for (text, said) in [
            ("users: [{name: ada}]".to_owned(), "neither a password nor a token"),
            ("users: [{name: ada, password: secret}]".to_owned(), "no hash"),
            ("users: [{name: ada, password: '$2b$12$abcdefghijklmnopqrstuu'}]".to_owned(), "ada"),
            (format!("users: [{{name: ada, password: '{good}'}}, {{name: ada, password: '{good}'}}]"), "twice"),
            (format!("users: [{{name: 'a:b', password: '{good}'}}]"), "colon"),
            ("users: [{name: ada, tokens: [{sha256: abc}]}]".to_owned(), "64 hexadecimal digits"),
            (format!("users: [{{name: ada, tokens: [{{sha256: {}, expires: tomorrow}}]}}]", "0".repeat(64)), "tomorrow"),
            ("users: [{name: ada, role: x}]".to_owned(), "role"),
            ("user: []".to_owned(), "user"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(said), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_what_may_be_a_password() {
        let token = hex::encode(Sha256::digest("t"));
        for (text, said) in [
            ("users: [{name: ada, password: [12345]}]".to_owned(), "another type"),
            ("users: [{name: ada, passwrd: x}]".to_owned(), "passwrd"),
            (format!("users: [{{name: ada, tokens: [{{sha256: {token}}}]}}, {{name: bob, tokens: [{{sha256: {token}}}]}}]"), "there twice"),
            (format!("users: [{{name: ada, tokens: [{{sha256: {token}}}], limits: {{memory_bytes: 0}}}}]"), "at least 1"),
            (format!("users: [{{name: ada, tokens: [{{sha256: {token}}}], limits: {{seconds: {}}}}}]", u64::MAX), "at most"),
        ] {
            let error = parse(&text).unwrap_err();
            assert!(error.contains(said) && !error.contains("12345"), "{text}: {error}");
        }
    }
}
