//! What clients have set, and keep by a login or a cookie.
//!
//! A session is here from the first option that is set until it is closed or nobody has used it for as long as logins last. One that is lost is an
//! error and never silently a new one: an answer of another run than was asked for would be worse.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tonic::Status;

use crate::lock::lock;
use crate::options::{BadOption, SessionOptions};

/// Sessions that are kept.
const MOST: usize = 10_000;
/// Of one user, where there are users: nobody keeps the others out.
const MOST_OF_USER: usize = 1_000;

/// By what a client keeps its session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Keeping {
    /// It has logged in, or has the cookie of a session; its id.
    Session(String),
    /// It gives cookies back, so that a session can be begun.
    Cookies,
    /// It has shown nothing.
    Nothing,
}

struct Session {
    /// None once it is closed.
    options: Option<SessionOptions>,
    user: Option<String>,
    used: Instant,
}

/// All sessions in which something was set.
pub(crate) struct Sessions {
    sessions: Mutex<BTreeMap<String, Session>>,
    life: Duration,
}

impl Sessions {
    /// None yet; they last so long.
    pub(crate) fn new(life: Duration) -> Self {
        Self { sessions: Mutex::default(), life }
    }

    /// What is set in a session; none if it is not here.
    ///
    /// # Errors
    /// When it was closed.
    pub(crate) fn options(&self, id: &str) -> Result<Option<SessionOptions>, Status> {
        let mut sessions = lock(&self.sessions);
        match sessions.get_mut(id) {
            None => Ok(None),
            Some(Session { options: None, .. }) => Err(closed()),
            Some(session) => {
                session.used = Instant::now();
                Ok(session.options.clone())
            }
        }
    }

    /// Sets an option of a session.
    ///
    /// # Errors
    /// When it was closed, or there are too many. What is said of the option itself is the inner result.
    pub(crate) fn set(&self, id: &str, user: Option<&str>, name: &str, value: Option<&str>) -> Result<Result<(), BadOption>, Status> {
        let mut sessions = lock(&self.sessions);
        let mut options = match sessions.get(id) {
            Some(Session { options: None, .. }) => return Err(closed()),
            Some(Session { options: Some(options), .. }) => options.clone(),
            None => SessionOptions::default(),
        };
        if let Err(error) = options.set(name, value) {
            return Ok(Err(error));
        }
        self.put(&mut sessions, id, user, Some(options))?;
        Ok(Ok(()))
    }

    /// Begins a session in which nothing is set.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn begin(&self, id: &str, user: Option<&str>) -> Result<(), Status> {
        self.put(&mut lock(&self.sessions), id, user, Some(SessionOptions::default()))
    }

    /// Closes a session.
    ///
    /// # Errors
    /// When it was closed before, or there are too many.
    pub(crate) fn close(&self, id: &str, user: Option<&str>) -> Result<(), Status> {
        self.options(id)?;
        let mut sessions = lock(&self.sessions);
        self.put(&mut sessions, id, user, None)
    }

    fn put(
        &self,
        sessions: &mut BTreeMap<String, Session>,
        id: &str,
        user: Option<&str>,
        options: Option<SessionOptions>,
    ) -> Result<(), Status> {
        let is_full = |sessions: &BTreeMap<String, Session>| {
            let own = || sessions.values().filter(|session| session.user.as_deref() == user).count();
            sessions.len() >= MOST || (user.is_some() && own() >= MOST_OF_USER)
        };
        if !sessions.contains_key(id) && is_full(sessions) {
            sessions.retain(|_, session| session.used.elapsed() < self.life);
            if is_full(sessions) {
                let text = format!("{MOST} sessions are open, or {MOST_OF_USER} of yours, which is all that there may be: close some");
                return Err(Status::resource_exhausted(text));
            }
        }
        sessions.insert(id.to_owned(), Session { options, user: user.map(str::to_owned), used: Instant::now() });
        Ok(())
    }
}

fn closed() -> Status {
    Status::unauthenticated("the session was closed: connect again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_stay_with_their_session() {
        let sessions = Sessions::new(Duration::from_secs(60));
        sessions.set("a", None, "bytefacts.run", Some("r-1")).unwrap().unwrap();
        sessions.set("a", None, "bytefacts.execution", Some("local")).unwrap().unwrap();
        assert!(sessions.set("a", None, "nonsense", Some("1")).unwrap().is_err());
        assert_eq!(sessions.options("a").unwrap().unwrap().run.unwrap().as_str(), "r-1");
        assert!(sessions.options("b").unwrap().is_none());
    }

    #[test]
    fn a_closed_session_is_no_new_one() {
        let sessions = Sessions::new(Duration::from_secs(60));
        sessions.set("a", None, "bytefacts.run", Some("r-1")).unwrap().unwrap();
        sessions.close("a", None).unwrap();
        assert_eq!(sessions.options("a").unwrap_err().code(), tonic::Code::Unauthenticated);
        assert!(sessions.set("a", None, "bytefacts.run", Some("r-1")).is_err());
        assert!(sessions.close("a", None).is_err());
    }

    #[test]
    fn there_are_only_so_many() {
        let sessions = Sessions::new(Duration::ZERO);
        for n in 0..=MOST {
            sessions.set(&n.to_string(), None, "schema", Some("x")).unwrap().unwrap();
        }
        assert!(lock(&sessions.sessions).len() <= MOST, "those that are too old make room");
        let sessions = Sessions::new(Duration::from_secs(600));
        for n in 0..MOST {
            sessions.set(&n.to_string(), None, "schema", Some("x")).unwrap().unwrap();
        }
        assert_eq!(sessions.set("more", None, "schema", Some("x")).unwrap_err().code(), tonic::Code::ResourceExhausted);
        sessions.set("1", None, "schema", Some("y")).unwrap().unwrap();
    }

    #[test]
    fn no_user_keeps_the_others_out() {
        let sessions = Sessions::new(Duration::from_secs(600));
        for n in 0..MOST_OF_USER {
            sessions.begin(&n.to_string(), Some("ada")).unwrap();
        }
        assert_eq!(sessions.begin("more", Some("ada")).unwrap_err().code(), tonic::Code::ResourceExhausted);
        sessions.begin("other", Some("bob")).unwrap();
    }
}
