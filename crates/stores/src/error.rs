//! Why a store cannot be opened, and what an open one says of its failures, in words for people.

use crate::access::Refused;

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The text is no URL.
    #[error("not a valid location: {location}: {source}")]
    Url {
        /// The text as given.
        location: String,
        /// What the URL parser says.
        source: url::ParseError,
    },
    /// The scheme is unknown, or the store's own settings are incomplete.
    #[error("cannot open the object store of {location}: {source}")]
    Open {
        /// The URL as given.
        location: String,
        /// What the store says.
        source: object_store::Error,
    },
    /// It is not allowed.
    #[error(transparent)]
    Refused(#[from] Refused),
}

/// What a store's error says, on one line: its own account of a refusal is a page of XML.
#[must_use]
pub fn explain(error: &object_store::Error) -> String {
    if let Some(refusal) = refusal(error) {
        return refusal.to_owned();
    }
    let text = error.to_string();
    let mut line = text.lines().next().unwrap_or_default().trim_end().to_owned();
    // That a request could not be sent is said by an error that keeps to itself why.
    let innermost = std::iter::successors(std::error::Error::source(error), |cause| cause.source()).last().map(ToString::to_string);
    if let Some(cause) = innermost.filter(|cause| !text.contains(cause.as_str()) && !cause.contains('\n')) {
        line.push_str(": ");
        line.push_str(&cause);
    }
    line
}

/// What a store refuses for good, if that is what the error is. Where a listing is refused, nothing but the text tells.
#[must_use]
pub fn refusal(error: &object_store::Error) -> Option<&'static str> {
    const NO_BUCKET: [&str; 3] = ["NoSuchBucket", "ContainerNotFound", "specified bucket does not exist"];
    // S3 says so with the status 400, as of a request that nobody understands.
    const EXPIRED: [&str; 3] = ["<Code>ExpiredToken", "<Code>InvalidToken", "<Code>TokenRefreshRequired"];
    let text = error.to_string();
    if NO_BUCKET.iter().any(|code| text.contains(code)) {
        Some("the bucket does not exist")
    } else if matches!(error, object_store::Error::PermissionDenied { .. }) || text.contains("403 Forbidden") {
        Some("access is forbidden (403): see the credentials and the policy of the bucket")
    } else if matches!(error, object_store::Error::Unauthenticated { .. }) || text.contains("401 Unauthorized") {
        Some("the credentials are missing or not valid (401)")
    } else if EXPIRED.iter().any(|code| text.contains(code)) {
        Some("the credentials have expired: renew them, and go on with the run")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_words_and_all_else_by_its_first_line() {
        let error = |text: &str| object_store::Error::Generic { store: "S3", source: text.into() };
        let missing = error("status code: 404 Not Found: <?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code></Error>");
        assert_eq!(explain(&missing), "the bucket does not exist");
        assert!(explain(&error("status code: 403 Forbidden:")).starts_with("access is forbidden"));
        let expired = error("status code: 400 Bad Request: <?xml version=\"1.0\"?>\n<Error><Code>ExpiredToken</Code></Error>");
        assert!(explain(&expired).starts_with("the credentials have expired"));
        assert_eq!(explain(&error("connection reset \nby whom")), "Generic S3 error: connection reset");
        assert_eq!(refusal(&error("status code: 404 Not Found: NoSuchKey")), None);
    }
}
