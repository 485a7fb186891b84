//! Who calls: from the headers of a call to a user, a session and limits.
//!
//! Drivers log in once by `Basic` and get a `Bearer` back, which they show from then on; others show `Basic` or a token of the users file with every
//! call. A login that we hand out is sealed and says all that is to be known of it, so that there is no list of logins that could fill up.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::{Deserialize, Serialize};
use tonic::Status;
use tonic::metadata::{KeyRef, MetadataMap};

use crate::error::internal;
use crate::options::{Limits, NAMES, ServeOptions, SessionOptions};
use crate::record::Whose;
use crate::seal::{Purpose, Seal, random_id};
use crate::sessions::{Keeping, Sessions};
use crate::users::{Denied, UsedToken, User, Users, now_seconds};

/// The cookie that Flight gives sessions.
pub(crate) const COOKIE: &str = "arrow_flight_session_id";
/// Its value for whoever has no session yet: whoever gives it back can have one.
pub(crate) const NEW: &str = "new";

/// What logins of ours begin with. One of before the server was started again is told from the tokens that others have clients show: its session is
/// lost, and must not silently be a new one.
const LOGIN: &str = "bytefacts.";

/// Base64 as clients write it, with and without padding.
const BASE64: GeneralPurpose =
    GeneralPurpose::new(&STANDARD, GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent));

/// Whether callers must show who they are.
pub enum Access {
    /// Anybody may ask.
    Open,
    /// The users of a file may.
    Users(Box<Users>),
}

/// Who calls.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// The user; none where anybody may ask.
    pub(crate) user: Option<String>,
    /// Whether it sees what others ask.
    pub(crate) is_operator: bool,
    /// Where it calls from, which headers do not say.
    pub(crate) client: Option<SocketAddr>,
    /// Its session.
    pub(crate) keeping: Keeping,
    /// The cookie that it is to be given.
    pub(crate) cookie: Option<String>,
    /// What is set for this call.
    pub(crate) options: SessionOptions,
    /// What a query of it may take.
    pub(crate) limits: Limits,
}

impl Caller {
    /// Whose queries it is told of: its own, or all, where it is an operator or there are no users.
    pub(crate) fn sees(&self) -> Whose {
        match &self.user {
            Some(user) if !self.is_operator => Whose::Of(user.clone()),
            _ => Whose::All,
        }
    }
}

/// What a login says.
#[derive(Debug, Serialize, Deserialize)]
struct Login {
    user: Option<String>,
    fingerprint: String,
    session: String,
    expires: u64,
    /// The hash of the token that it began with, and with which it ends.
    #[serde(default)]
    token: Option<String>,
}

/// Who somebody is found to be.
#[derive(Default)]
struct Identity {
    /// The user, where there are any.
    user: Option<User>,
    /// The login that was shown.
    login: Option<Login>,
    /// The token that was shown.
    token: Option<UsedToken>,
}

/// Finds out who calls.
pub(crate) struct Door {
    access: Access,
    seal: Arc<Seal>,
    sessions: Arc<Sessions>,
    options: ServeOptions,
}

enum Shown {
    Basic { user: String, password: String },
    Bearer(String),
    Nothing,
}

impl Door {
    pub(crate) fn new(access: Access, seal: Arc<Seal>, sessions: Arc<Sessions>, options: ServeOptions) -> Self {
        Self { access, seal, sessions, options }
    }

    /// Who calls with these headers.
    ///
    /// # Errors
    /// UNAUTHENTICATED when it is nobody who may; INVALID_ARGUMENT when a header sets what is no option.
    pub(crate) async fn caller(&self, headers: &MetadataMap) -> Result<Caller, Status> {
        let Identity { user, login, .. } = self.identify(shown(headers)?).await?;
        let keeping = match (login.map(|login| login.session), cookie(headers)) {
            (Some(session), _) => Keeping::Session(session),
            (None, None) => Keeping::Nothing,
            (None, Some(value)) if value == NEW => Keeping::Cookies,
            (None, Some(value)) => match self.seal.open(Purpose::Cookie, &value) {
                // Whoever has a cookie has set something: a session that is lost is never silently a new one.
                Some(id) if self.sessions.options(&id)?.is_some() => Keeping::Session(id),
                _ => return Err(Status::unauthenticated("the session is not known to this server: connect again")),
            },
        };
        let mut options = match &keeping {
            Keeping::Session(id) => self.sessions.options(id)?.unwrap_or_default(),
            _ => SessionOptions::default(),
        };
        // What is misspelt would be ignored without a word, and another run answer.
        for key in headers.keys() {
            let KeyRef::Ascii(key) = key else { continue };
            if key.as_str().starts_with("bytefacts.") && !NAMES.contains(&key.as_str()) {
                return Err(Status::invalid_argument(format!("there is no option {key}; there are {}", NAMES.join(", "))));
            }
        }
        for name in NAMES {
            if let Some(value) = headers.get(name) {
                let value = value.to_str().map_err(|_| Status::invalid_argument(format!("the header {name} is no text")))?;
                options.set(name, Some(value)).map_err(|error| Status::invalid_argument(error.to_string()))?;
            }
        }
        let limits = user.as_ref().map_or(self.options.limits, |user| user.limits.over(self.options.limits));
        // Who has shown nothing is asked whether it keeps cookies.
        let cookie = (keeping == Keeping::Nothing).then(|| NEW.to_owned());
        let is_operator = user.as_ref().is_some_and(|user| user.operator);
        Ok(Caller { user: user.map(|user| user.name), is_operator, client: None, keeping, cookie, options, limits })
    }

    /// The user whose name these headers show, whether or not it is them; none of what is nobody's name.
    pub(crate) fn named(&self, headers: &MetadataMap) -> Option<String> {
        match (&self.access, shown(headers)) {
            (Access::Users(users), Ok(Shown::Basic { user, .. })) => users.named(&user).map(|user| user.name),
            _ => None,
        }
    }

    /// The token that stands for a login by these headers from now on, and whose it is.
    ///
    /// # Errors
    /// UNAUTHENTICATED when it is nobody who may.
    pub(crate) async fn login(&self, headers: &MetadataMap) -> Result<(String, Option<String>), Status> {
        let Identity { user, login, token } = self.identify(shown(headers)?).await?;
        // A login that is shown for another one lasts no longer by it, and neither does a token.
        let ends = [login.as_ref().map(|login| login.expires), token.as_ref().and_then(|token| token.expires)];
        let expires = ends.into_iter().flatten().fold(now_seconds() + self.options.login.as_secs(), u64::min);
        let login = Login {
            fingerprint: user.as_ref().map(User::fingerprint).unwrap_or_default(),
            user: user.map(|user| user.name),
            session: random_id().map_err(internal)?,
            expires,
            token: token.map(|token| token.sha256).or_else(|| login.and_then(|login| login.token)),
        };
        let said = serde_json::to_string(&login).map_err(internal)?;
        Ok((format!("{LOGIN}{}", self.seal.seal(Purpose::Login, &said)), login.user))
    }

    /// Begins a session for a caller, who gets a cookie for it; its id.
    ///
    /// # Errors
    /// When the system has no random numbers, or there are too many sessions.
    pub(crate) fn begin_session(&self, caller: &mut Caller) -> Result<String, Status> {
        let id = random_id().map_err(internal)?;
        self.sessions.begin(&id, caller.user.as_deref())?;
        caller.cookie = Some(self.seal.seal(Purpose::Cookie, &id));
        caller.keeping = Keeping::Session(id.clone());
        Ok(id)
    }

    /// Who shows this.
    async fn identify(&self, shown: Shown) -> Result<Identity, Status> {
        let denied = |denied: Denied| match denied {
            Denied::Busy => Status::resource_exhausted(denied.to_string()),
            _ => Status::unauthenticated(denied.to_string()),
        };
        match (&self.access, shown) {
            // Who needs no login may show whatever it likes; a login of ours still names its session.
            (Access::Open, Shown::Bearer(token)) => Ok(Identity { login: self.open(&token)?, ..Identity::default() }),
            (Access::Open, _) => Ok(Identity::default()),
            (Access::Users(_), Shown::Nothing) => {
                Err(Status::unauthenticated("a login is needed: a user name and a password (Basic), or a token (Bearer)"))
            }
            (Access::Users(users), Shown::Basic { user, password }) => {
                Ok(Identity { user: Some(users.by_password(&user, &password).await.map_err(denied)?), ..Identity::default() })
            }
            (Access::Users(users), Shown::Bearer(token)) => {
                let Some(login) = self.open(&token)? else {
                    let (user, token) = users.by_token(&token).map_err(denied)?;
                    return Ok(Identity { user: Some(user), token: Some(token), login: None });
                };
                let user = login.user.as_deref().and_then(|name| users.named(name));
                let is_valid =
                    |user: &User| user.fingerprint() == login.fingerprint && login.token.as_ref().is_none_or(|token| user.has_token(token));
                match user.filter(is_valid) {
                    Some(user) => Ok(Identity { user: Some(user), login: Some(login), token: None }),
                    None => Err(Status::unauthenticated("the login is no longer valid: log in again")),
                }
            }
        }
    }

    /// The login that a token is, if it is one of ours.
    fn open(&self, token: &str) -> Result<Option<Login>, Status> {
        let Some(sealed) = token.strip_prefix(LOGIN) else { return Ok(None) };
        let Some(text) = self.seal.open(Purpose::Login, sealed) else {
            return Err(Status::unauthenticated("the login is not of this server, or it was started again: log in again"));
        };
        let login: Login = serde_json::from_str(&text).map_err(internal)?;
        if now_seconds() >= login.expires {
            return Err(Status::unauthenticated("the login has expired: log in again"));
        }
        Ok(Some(login))
    }
}

/// What the headers show.
fn shown(headers: &MetadataMap) -> Result<Shown, Status> {
    let refused = |why: &str| Err(Status::unauthenticated(format!("the header `authorization` {why}")));
    let Some(header) = headers.get("authorization") else { return Ok(Shown::Nothing) };
    let Some((scheme, value)) = header.to_str().ok().and_then(|header| header.trim().split_once(' ')) else {
        return refused("is neither `Basic …` nor `Bearer …`");
    };
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Ok(Shown::Bearer(value.to_owned()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return refused("is neither `Basic …` nor `Bearer …`");
    }
    let Some(text) = BASE64.decode(value).ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return refused("holds no user name and password in Base64");
    };
    match text.split_once(':') {
        None | Some(("", _)) => refused("has no user name"),
        Some((_, "")) => refused("has no password"),
        Some((user, password)) => Ok(Shown::Basic { user: user.to_owned(), password: password.to_owned() }),
    }
}

/// The cookie of the session, if there is one.
fn cookie(headers: &MetadataMap) -> Option<String> {
    let cookies = headers.get_all("cookie").iter().filter_map(|header| header.to_str().ok());
    let mut pairs = cookies.flat_map(|header| header.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE).map(|(_, value)| value.trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sha2::{Digest as _, Sha256};

    use super::*;

    fn door(access: Access) -> Door {
        let seal = Arc::new(Seal::random().unwrap());
        Door::new(access, seal, Arc::new(Sessions::new(Duration::from_secs(60))), ServeOptions::default())
    }

    fn headers(pairs: &[(&'static str, &str)]) -> MetadataMap {
        let mut headers = MetadataMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn with_users() -> (tempfile::TempDir, Door) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let token = hex::encode(Sha256::digest("a token"));
        std::fs::write(&path, format!("users: [{{name: ada, tokens: [{{sha256: {token}}}], limits: {{rows: 5}}}}]")).unwrap();
        (folder, door(Access::Users(Box::new(Users::read(&path).unwrap()))))
    }

    async fn denied(door: &Door, shown: &str) -> String {
        let status = door.caller(&headers(&[("authorization", shown)])).await.unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unauthenticated);
        status.message().to_owned()
    }

    #[tokio::test]
    async fn a_login_says_who_calls_until_it_is_taken_away() {
        let (folder, door) = with_users();
        let (login, user) = door.login(&headers(&[("authorization", "Bearer a token")])).await.unwrap();
        assert_eq!(user.as_deref(), Some("ada"));
        let shown = headers(&[("authorization", &format!("Bearer {login}"))]);
        let caller = door.caller(&shown).await.unwrap();
        assert_eq!(caller.user.as_deref(), Some("ada"));
        assert_eq!(caller.limits.rows, Some(5));
        assert!(matches!(caller.keeping, Keeping::Session(_)));

        let other = hex::encode(Sha256::digest("another"));
        std::fs::write(folder.path().join("users.yaml"), format!("users: [{{name: bob, tokens: [{{sha256: {other}}}]}}]")).unwrap();
        let refused = until(async || door.caller(&shown).await.err()).await;
        assert!(refused.message().contains("no longer valid"));
    }

    /// Asks until there is an answer: what has changed in the users file is seen within a second or so.
    async fn until<T>(ask: impl AsyncFn() -> Option<T>) -> T {
        let asked = async {
            loop {
                match ask().await {
                    Some(answer) => return answer,
                    None => tokio::time::sleep(Duration::from_millis(50)).await,
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(60), asked).await.expect("the changed file is not seen")
    }

    /// A token that is taken away, or expires, takes the logins with it that began with it; and a login is not made longer by a login.
    #[tokio::test]
    async fn a_login_lasts_no_longer_than_its_token() {
        let (folder, door) = with_users();
        let mint = async |shown: &str| door.login(&headers(&[("authorization", &format!("Bearer {shown}"))])).await.map(|(login, _)| login);
        let file =
            |tokens: &str| std::fs::write(folder.path().join("users.yaml"), format!("users: [{{name: ada, tokens: [{tokens}]}}]")).unwrap();
        let (ours, other) = (hex::encode(Sha256::digest("a token")), hex::encode(Sha256::digest("another")));
        let opened = |login: &str| door.open(login).unwrap().unwrap();
        // Shorter than a login is by itself.
        let ends = now_seconds() + door.options.login.as_secs() / 2;
        let words = chrono::DateTime::from_timestamp(i64::try_from(ends).unwrap(), 0).unwrap().to_rfc3339();
        file(&format!("{{sha256: {ours}, expires: '{words}'}}"));
        let login = until(async || mint("a token").await.ok().filter(|login| opened(login).expires == ends)).await;
        let again = mint(&login).await.unwrap();
        assert_eq!(opened(&again).expires, ends);
        let shown = |login: &str| headers(&[("authorization", &format!("Bearer {login}"))]);
        for mut login in [login, again] {
            assert!(door.caller(&shown(&login)).await.is_ok());
            // The same login, at its end.
            let over = Login { expires: now_seconds(), ..opened(&login) };
            login = format!("{LOGIN}{}", door.seal.seal(Purpose::Login, &serde_json::to_string(&over).unwrap()));
            assert!(denied(&door, &format!("Bearer {login}")).await.contains("expired"));
        }

        file(&format!("{{sha256: {ours}}}"));
        let login = until(async || mint("a token").await.ok().filter(|login| opened(login).expires > ends)).await;
        file(&format!("{{sha256: {other}}}"));
        let refused = until(async || door.caller(&shown(&login)).await.err()).await;
        assert!(refused.message().contains("no longer valid"));
        assert!(mint(&login).await.is_err());
    }

    #[tokio::test]
    async fn who_shows_nothing_or_half_of_it_is_told_what_lacks() {
        let (_folder, door) = with_users();
        assert!(door.caller(&MetadataMap::new()).await.unwrap_err().message().contains("a login is needed"));
        let basic = |text: &str| format!("Basic {}", BASE64.encode(text));
        assert!(denied(&door, &basic("ada:")).await.contains("no password"));
        assert!(denied(&door, &basic(":secret")).await.contains("no user name"));
        assert!(denied(&door, &basic("ada")).await.contains("no user name"));
        assert!(denied(&door, &basic("ada:secret")).await.contains("wrong"));
        assert!(denied(&door, "Basic ???").await.contains("Base64"));
        assert!(denied(&door, "Digest x").await.contains("neither"));
        assert!(denied(&door, "Bearer forged").await.contains("not known"));
    }

    #[tokio::test]
    async fn a_login_expires() {
        let door = door(Access::Open);
        let old =
            serde_json::to_string(&Login { user: None, fingerprint: String::new(), session: "s".into(), expires: 1, token: None }).unwrap();
        let sealed = door.seal.seal(Purpose::Login, &old);
        assert!(denied(&door, &format!("Bearer {LOGIN}{sealed}")).await.contains("expired"));
    }

    #[tokio::test]
    async fn a_login_of_before_is_an_error_where_a_token_of_others_is_none() {
        let (before, now) = (door(Access::Open), door(Access::Open));
        let (login, _) = before.login(&MetadataMap::new()).await.unwrap();
        assert!(denied(&now, &format!("Bearer {login}")).await.contains("log in again"));
        let caller = now.caller(&headers(&[("authorization", "Bearer of-a-dashboard")])).await.unwrap();
        assert_eq!(caller.keeping, Keeping::Nothing);
    }

    #[tokio::test]
    async fn sessions_are_kept_by_cookies_and_a_lost_one_is_an_error() {
        let door = door(Access::Open);
        let keeping = async |value: Option<&str>| {
            let cookie = value.map(|value| format!("other=1; {COOKIE}={value}"));
            let pairs: Vec<_> = cookie.iter().map(|cookie| ("cookie", cookie.as_str())).collect();
            door.caller(&headers(&pairs)).await.map(|caller| caller.keeping)
        };
        assert_eq!(keeping(None).await.unwrap(), Keeping::Nothing);
        assert_eq!(keeping(Some(NEW)).await.unwrap(), Keeping::Cookies);
        let mut caller = door.caller(&MetadataMap::new()).await.unwrap();
        assert_eq!(caller.cookie.as_deref(), Some(NEW));
        let id = door.begin_session(&mut caller).unwrap();
        let cookie = caller.cookie.unwrap();
        assert_eq!(keeping(Some(&cookie)).await.unwrap(), Keeping::Session(id));
        let foreign = Seal::random().unwrap().seal(Purpose::Cookie, "x");
        assert_eq!(keeping(Some(&foreign)).await.unwrap_err().code(), tonic::Code::Unauthenticated);
    }

    #[tokio::test]
    async fn options_are_set_by_headers_of_their_names() {
        let door = door(Access::Open);
        let caller = door.caller(&headers(&[("bytefacts.run", "r-1")])).await.unwrap();
        assert_eq!(caller.options.run.unwrap().as_str(), "r-1");
        let refused = door.caller(&headers(&[("bytefacts.execution", "moon")])).await.unwrap_err();
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        let misspelt = door.caller(&headers(&[("bytefacts.runn", "r-1")])).await.unwrap_err();
        assert!(misspelt.code() == tonic::Code::InvalidArgument && misspelt.message().contains("bytefacts.run,"), "{misspelt}");
    }
}
