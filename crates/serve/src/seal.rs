//! Texts that this process has sealed: tickets and logins, which clients hold and give back.
//!
//! A sealed text can be read by whoever has it and made by nobody else. The key is random and lives as long as the process, so that whatever an
//! earlier process has sealed is refused.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::error::ServeError;

/// Bytes of the code in front of a text.
const CODE: usize = 32;

/// What a text is for: one that is sealed for one thing is none for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Names a query whose result is to be fetched.
    Ticket,
    /// Says who has logged in.
    Login,
    /// Names a session in a cookie.
    Cookie,
    /// Not given away: a password that was found right.
    Password,
}

/// Seals and opens texts.
pub(crate) struct Seal(Hmac<Sha256>);

impl Seal {
    /// With a new key.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn random() -> Result<Self, ServeError> {
        let mut key = [0; 64];
        getrandom::getrandom(&mut key).map_err(|error| ServeError::Random(error.to_string()))?;
        Hmac::new_from_slice(&key).map(Self).map_err(|error| ServeError::Random(error.to_string()))
    }

    /// The code of a text.
    pub(crate) fn code(&self, purpose: Purpose, text: &str) -> [u8; CODE] {
        self.mac(purpose, text.as_bytes()).finalize().into_bytes().into()
    }

    /// The text with its code.
    pub(crate) fn seal(&self, purpose: Purpose, text: &str) -> String {
        let mut sealed = self.code(purpose, text).to_vec();
        sealed.extend_from_slice(text.as_bytes());
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// The text, if it was sealed here and for this.
    pub(crate) fn open(&self, purpose: Purpose, sealed: &str) -> Option<String> {
        let bytes = URL_SAFE_NO_PAD.decode(sealed).ok()?;
        let (code, text) = bytes.split_at_checked(CODE)?;
        self.mac(purpose, text).verify_slice(code).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }

    fn mac(&self, purpose: Purpose, text: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        mac.update(&[purpose as u8]);
        mac.update(text);
        mac
    }
}

/// A name that nobody guesses.
///
/// # Errors
/// When the system has no random numbers.
pub(crate) fn random_id() -> Result<String, ServeError> {
    let mut bytes = [0; 16];
    getrandom::getrandom(&mut bytes).map_err(|error| ServeError::Random(error.to_string()))?;
    Ok(hex::encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_here_and_for_this_opens_and_nothing_else() {
        let seal = Seal::random().unwrap();
        let sealed = seal.seal(Purpose::Ticket, "q1");
        assert_eq!(seal.open(Purpose::Ticket, &sealed).as_deref(), Some("q1"));
        assert_eq!(seal.open(Purpose::Login, &sealed), None, "another purpose");
        assert_eq!(Seal::random().unwrap().open(Purpose::Ticket, &sealed), None, "another process");
        let forged = URL_SAFE_NO_PAD.encode([&[0; CODE][..], b"q1"].concat());
        for bad in ["", "?", &sealed[1..], &sealed[..20], forged.as_str()] {
            assert_eq!(seal.open(Purpose::Ticket, bad), None, "{bad}");
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(&sealed).unwrap();
        *bytes.last_mut().unwrap() = b'2';
        assert_eq!(seal.open(Purpose::Ticket, &URL_SAFE_NO_PAD.encode(bytes)), None, "another text");
    }

    #[test]
    fn names_differ() {
        assert_ne!(random_id().unwrap(), random_id().unwrap());
    }
}
