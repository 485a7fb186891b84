//! How many requests this process has made of object stores, and how they ended. A process has one count, whoever asks: clients are many, and what a
//! bucket bills and throttles is the sum.

use std::sync::atomic::{AtomicU64, Ordering};

use object_store::client::{HttpRequest, HttpResponse};

/// What is asked of a store.
const OPERATIONS: [&str; 6] = ["get", "head", "list", "put", "delete", "post"];

/// How it ends.
const OUTCOMES: [&str; 8] = ["ok", "not_found", "precondition", "denied", "throttled", "refused", "server_error", "no_answer"];

static COUNTS: [[AtomicU64; OUTCOMES.len()]; OPERATIONS.len()] =
    [const { [const { AtomicU64::new(0) }; OUTCOMES.len()] }; OPERATIONS.len()];

/// The requests since the start of this process, by operation and outcome: all pairs that there are, so that the first of a kind is seen as one more.
#[must_use]
pub fn requests() -> Vec<(&'static str, &'static str, u64)> {
    let of = |(counts, operation): (&'static [AtomicU64; OUTCOMES.len()], &'static str)| {
        counts.iter().zip(OUTCOMES).map(move |(count, outcome)| (operation, outcome, count.load(Ordering::Relaxed)))
    };
    COUNTS.iter().zip(OPERATIONS).flat_map(of).collect()
}

/// Counts a request; a transport that failed, or an answer that nobody waited for, is none.
pub(crate) fn count(operation: &str, outcome: &str) {
    let counts = OPERATIONS.iter().position(|known| *known == operation).and_then(|operation| COUNTS.get(operation));
    if let Some(count) = counts.and_then(|counts| counts.get(OUTCOMES.iter().position(|known| *known == outcome)?)) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a request asks for.
pub(crate) fn operation(request: &HttpRequest) -> &'static str {
    let lists = |query: &str| query.split('&').any(|part| part == "list-type=2" || part == "comp=list");
    match request.method().as_str() {
        "GET" if request.uri().query().is_some_and(lists) => "list",
        "GET" => "get",
        "HEAD" => "head",
        "PUT" => "put",
        "DELETE" => "delete",
        _ => "post",
    }
}

/// How an answer ends it.
pub(crate) fn outcome(response: &HttpResponse) -> &'static str {
    match response.status().as_u16() {
        200..=299 => "ok",
        304 | 409 | 412 => "precondition",
        401 | 403 => "denied",
        404 => "not_found",
        429 | 503 => "throttled",
        500.. => "server_error",
        _ => "refused",
    }
}

/// A request under way. One that is given up has no answer.
pub(crate) struct Asked {
    pub(crate) operation: &'static str,
    pub(crate) outcome: &'static str,
}

impl Asked {
    pub(crate) fn of(request: &HttpRequest) -> Self {
        Self { operation: operation(request), outcome: "no_answer" }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        count(self.operation, self.outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_of(operation: &str, outcome: &str) -> u64 {
        requests().iter().find(|(of, how, _)| (*of, *how) == (operation, outcome)).map(|(.., count)| *count).unwrap()
    }

    #[test]
    fn requests_are_counted_by_what_they_are_and_how_they_end() {
        let request = |method: &str, uri: &str| {
            let mut request = HttpRequest::new(Vec::new().into());
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = uri.parse().unwrap();
            request
        };
        for (method, uri, expected) in [
            ("GET", "http://h/b/k", "get"),
            ("GET", "http://h/b?list-type=2&prefix=x", "list"),
            ("GET", "http://h/c?restype=container&comp=list", "list"),
            ("GET", "http://h/b/k?x=list-type=2", "get"),
            ("HEAD", "http://h/b/k", "head"),
            ("PUT", "http://h/b/k", "put"),
            ("DELETE", "http://h/b/k", "delete"),
            ("POST", "http://h/b?delete", "post"),
        ] {
            let asked = Asked::of(&request(method, uri));
            assert_eq!((asked.operation, asked.outcome), (expected, "no_answer"), "{method} {uri}");
            let before = count_of(expected, "no_answer");
            drop(asked);
            assert!(count_of(expected, "no_answer") > before);
        }
        let response = |status: u16| {
            let mut response = HttpResponse::new(Vec::new().into());
            *response.status_mut() = status.try_into().unwrap();
            response
        };
        for (status, expected) in [
            (200, "ok"),
            (206, "ok"),
            (304, "precondition"),
            (400, "refused"),
            (403, "denied"),
            (404, "not_found"),
            (409, "precondition"),
            (412, "precondition"),
            (429, "throttled"),
            (500, "server_error"),
            (503, "throttled"),
        ] {
            assert_eq!(outcome(&response(status)), expected, "{status}");
        }
    }
}
