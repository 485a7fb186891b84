//! Stores: whether a corpus can be read, and whether what landing relies on holds where facts go.

use std::time::{Duration, SystemTime};

use bytefacts_corpus::Location;
use bytefacts_stores::{Place, Stores};
use futures::StreamExt as _;
use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, PutResult, UpdateVersion};
use tokio::time::{Instant, timeout};

use super::Check;
use crate::daemon::fresh_number;

/// How long one check of a store may take.
const LIMIT: Duration = Duration::from_secs(25);

/// Above this a request takes long.
const SLOW: Duration = Duration::from_millis(250);

/// Above this the clocks differ: leases and sweeps are counted in minutes.
const SKEW: Duration = Duration::from_secs(60);

/// Checks a corpus: it can be listed, and its first file read.
pub async fn readable(stores: &Stores, location: &Location) -> Vec<Check> {
    let mut checks = vec![settings("corpus", location)];
    if let Some(folder) = location.local_path() {
        checks.push(match std::fs::read_dir(folder).map(|mut entries| entries.next().is_some()) {
            Ok(true) => Check::ok("corpus: list", folder.display().to_string()),
            Ok(false) => Check::fail("corpus: list", format!("{} is empty", folder.display()), "is its disk mounted?"),
            Err(error) => Check::fail("corpus: list", format!("{}: {error}", folder.display()), "name a folder that this user may read"),
        });
        return checks;
    }
    let place = match stores.open(location.uri()) {
        Ok(place) => place,
        Err(error) => return failed(checks, "corpus: open", &error.to_string()),
    };
    let first = match listed(&place).await {
        Ok(Some(first)) => first,
        Ok(None) => {
            checks.push(Check::fail("corpus: list", format!("nothing is below {location}"), "is the prefix right?"));
            return checks;
        }
        Err(error) => return failed(checks, "corpus: list", &error),
    };
    checks.push(Check::ok("corpus: list", format!("{first} is below it")));
    match in_time(async { place.store.get(&first).await?.bytes().await }).await {
        Ok(content) => checks.push(Check::ok("corpus: get", format!("{first}, {} bytes", content.len()))),
        Err(error) => return failed(checks, "corpus: get", &error),
    }
    checks
}

/// Checks where facts go: what landing and commits rely on is done with an object of its own, which is deleted again.
pub async fn writable(stores: &Stores, location: &Location) -> Vec<Check> {
    let mut checks = vec![settings("facts", location)];
    let place = match stores.open(location.uri()) {
        Ok(place) => place,
        Err(error) => return failed(checks, "facts: open", &error.to_string()),
    };
    let made =
        location.local_path().and_then(|folder| folder.ancestors().find(|ancestor| ancestor.exists()).map(std::path::Path::to_owned));
    match listed(&place).await {
        Ok(first) => checks.push(Check::ok("facts: list", if first.is_some() { "there are facts" } else { "empty" })),
        Err(error) => return failed(checks, "facts: list", &error),
    }
    let probe = Probe {
        store: place.store.as_ref(),
        key: place.path.clone().join(format!("doctor-{:08x}", fresh_number())),
        local: place.folder.is_some(),
    };
    let found = probe.all().await;
    checks.extend(found);
    checks.push(probe.delete().await);
    if let (Some(folder), Some(above)) = (location.local_path(), made) {
        remove_made(folder, &above);
    }
    checks
}

/// Checks the cache that nodes share: what one puts there another gets, and only those who have the secret.
pub async fn shared_cache(stores: &Stores, location: &Location, secret: Option<&std::path::Path>) -> Vec<Check> {
    const NAME: &str = "shared cache";
    let mut checks = vec![match (secret, crate::commands::extract::secret(secret)) {
        (None, _) => Check::warn(
            format!("{NAME}: seal"),
            "there is no secret: whoever may write there decides what is taken for compiled code",
            "set cache.shared_secret to the same file on all nodes",
        ),
        (Some(file), Ok(_)) => Check::ok(format!("{NAME}: seal"), file.display().to_string()),
        (Some(_), Err(error)) => Check::fail(format!("{NAME}: seal"), format!("{error:#}"), "give all nodes one file of 32 bytes or more"),
    }];
    let place = match stores.open(location.uri()) {
        Ok(place) => place,
        Err(error) => return failed(checks, "shared cache: open", &error.to_string()),
    };
    let made =
        location.local_path().and_then(|folder| folder.ancestors().find(|ancestor| ancestor.exists()).map(std::path::Path::to_owned));
    let key = place.path.clone().join(format!("doctor-{:08x}", fresh_number()));
    let answer = in_time(async {
        place.store.put(&key, PutPayload::from_static(FIRST.as_bytes())).await?;
        let content = place.store.get(&key).await?.bytes().await;
        place.store.delete(&key).await?;
        content
    });
    match answer.await {
        Ok(content) if content == FIRST.as_bytes() => checks.push(Check::ok("shared cache: put and get", location.to_string())),
        Ok(_) => checks.push(Check::fail("shared cache: put and get", "what is there was never put there", "use another store")),
        Err(error) => checks = failed(checks, "shared cache: put and get", &error),
    }
    if let (Some(folder), Some(above)) = (location.local_path(), made) {
        remove_made(folder, &above);
    }
    checks
}

/// Removes the folders that were made for the probe.
fn remove_made(folder: &std::path::Path, above: &std::path::Path) {
    for made in folder.ancestors().take_while(|ancestor| *ancestor != above) {
        // One that is not empty, or never was made, is none of ours.
        let _: std::io::Result<()> = std::fs::remove_dir(made);
    }
}

/// The object by which a store is tried.
struct Probe<'a> {
    store: &'a dyn ObjectStore,
    key: Path,
    /// Whether it is a disk of this machine.
    local: bool,
}

const FIRST: &str = "first";
const SECOND: &str = "second";

impl Probe<'_> {
    async fn all(&self) -> Vec<Check> {
        let begun = SystemTime::now();
        match self.put(FIRST, PutMode::Create).await {
            Ok(_) => {}
            Err(Fault::Store(Error::NotImplemented { .. })) => return vec![not_create_only("it does not know such puts (501)".to_owned())],
            Err(fault) => return failed(Vec::new(), "facts: put", &fault.to_string()),
        }
        let mut checks = vec![self.create_only().await];
        match self.content().await {
            Ok(content) if content == FIRST => checks.push(Check::ok("facts: get", "what was put is what is there")),
            // The check above says why.
            Ok(content) if content == SECOND => {}
            Ok(content) => checks.push(Check::fail("facts: get", format!("{content:?} was never put there"), "use another store")),
            Err(error) => return failed(checks, "facts: get", &error),
        }
        checks.push(self.swap().await);
        if !self.local {
            checks.extend(self.clock(begun).await);
        }
        checks.extend(self.latency().await);
        checks
    }

    /// A second put that may only create must be refused, and change nothing: some stores answer 200 and overwrite.
    async fn create_only(&self) -> Check {
        match self.put(SECOND, PutMode::Create).await {
            Err(Fault::Store(Error::AlreadyExists { .. })) => match self.content().await {
                Ok(content) if content == FIRST => Check::ok("facts: create-only put", "a second put is refused"),
                _ => not_create_only("a second put was refused, and yet the object is another one".to_owned()),
            },
            Ok(_) => not_create_only("a second put was taken: the store ignores If-None-Match".to_owned()),
            Err(fault) => not_create_only(format!("a second put: {fault}")),
        }
    }

    /// An update must be taken for the version that is there, and refused for the one before.
    async fn swap(&self) -> Check {
        const NAME: &str = "facts: compare-and-swap";
        let advice = "use a store that honours If-Match: of two runs that commit at once the older one may become current";
        let before = match in_time(self.store.head(&self.key)).await {
            Ok(there) => UpdateVersion { e_tag: there.e_tag, version: there.version },
            Err(error) => return Check::fail(NAME, error, advice),
        };
        match self.put(FIRST, PutMode::Update(before.clone())).await {
            Ok(_) => {}
            Err(Fault::Store(Error::NotImplemented { .. })) if self.local => return Check::ok(NAME, "by renaming, as on every disk"),
            Err(fault) => return Check::fail(NAME, format!("an update of what is there: {fault}"), advice),
        }
        // The same content may be the same version.
        if let Err(fault) = self.put(SECOND, PutMode::Overwrite).await {
            return Check::fail(NAME, fault.to_string(), advice);
        }
        match self.put(FIRST, PutMode::Update(before)).await {
            Err(Fault::Store(Error::Precondition { .. })) => Check::ok(NAME, "an update of another version is refused"),
            Ok(_) => Check::fail(NAME, "an update of another version was taken: the store ignores If-Match", advice),
            Err(fault) => Check::fail(NAME, format!("an update of another version: {fault}"), advice),
        }
    }

    /// The store dates what is in it. This machine's clock does no harm if it is another; it confuses who reads logs, and signatures need it.
    async fn clock(&self, begun: SystemTime) -> Option<Check> {
        const NAME: &str = "facts: clock";
        let dated = in_time(self.store.head(&self.key)).await.ok()?.last_modified;
        let (dated, now) = (SystemTime::from(dated), SystemTime::now());
        let skew = dated.duration_since(now).or_else(|_| begun.duration_since(dated)).unwrap_or_default();
        Some(if skew <= SKEW {
            Check::ok(NAME, "the store's time is this machine's")
        } else {
            Check::warn(NAME, format!("the store's time is {} s from this machine's", skew.as_secs()), "set this machine's clock (NTP)")
        })
    }

    async fn latency(&self) -> Option<Check> {
        const NAME: &str = "facts: latency";
        let mut times = Vec::new();
        for _ in 0..5 {
            let begun = Instant::now();
            in_time(self.store.head(&self.key)).await.ok()?;
            times.push(begun.elapsed());
        }
        times.sort();
        let median = *times.get(times.len() / 2)?;
        let found = format!("{:.1} ms a request", median.as_secs_f64() * 1000.0);
        Some(if median <= SLOW { Check::ok(NAME, found) } else { Check::warn(NAME, found, "run nearer to the store, in its region") })
    }

    /// Nothing is left behind.
    async fn delete(&self) -> Check {
        const NAME: &str = "facts: delete";
        let deleted = in_time(self.store.delete(&self.key)).await;
        match in_time(async { Ok(self.store.head(&self.key).await) }).await {
            Ok(Err(Error::NotFound { .. })) => Check::ok(NAME, "nothing is left behind"),
            _ => {
                let reason = deleted.err().map(|error| format!(": {error}")).unwrap_or_default();
                Check::fail(
                    NAME,
                    format!("{} is left behind{reason}", self.key),
                    "allow this identity to delete: sweeps and retries need it",
                )
            }
        }
    }

    async fn put(&self, content: &'static str, mode: PutMode) -> Result<PutResult, Fault> {
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.store.put_opts(&self.key, PutPayload::from_static(content.as_bytes()), options);
        timeout(LIMIT, put).await.map_err(|_| Fault::Late)?.map_err(Fault::Store)
    }

    async fn content(&self) -> Result<String, String> {
        let content = in_time(async { self.store.get(&self.key).await?.bytes().await }).await?;
        Ok(String::from_utf8_lossy(&content).into_owned())
    }
}

/// Why a put came to nothing.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("{}", said(.0))]
    Store(Error),
    #[error("no answer within {} s", LIMIT.as_secs())]
    Late,
}

fn not_create_only(found: String) -> Check {
    let advice = "use a store, or a version of it, that honours If-None-Match on puts: otherwise attempts overwrite each other's records";
    Check::fail("facts: create-only put", found, advice)
}

/// The first object below a place.
async fn listed(place: &Place) -> Result<Option<Path>, String> {
    in_time(async { place.store.list(Some(&place.path)).next().await.transpose() }).await.map(|found| found.map(|found| found.location))
}

/// What a request answers within the limit, or in words why it does not.
async fn in_time<T>(request: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
    match timeout(LIMIT, request).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(said(&error)),
        Err(_) => Err(format!("no answer within {} s", LIMIT.as_secs())),
    }
}

/// What a store says, without the debug print of what carried it.
fn said(error: &Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// The checks, ended by one that failed, with what to do about such a fault.
fn failed(mut checks: Vec<Check>, name: &str, error: &str) -> Vec<Check> {
    let has = |words: &[&str]| words.iter().any(|word| error.contains(word));
    let advice = if has(&["169.254.169.254", "169.254.170", "metadata.google"]) {
        "no credentials were found, so that the machine's own were asked for: set AWS_*, GOOGLE_* or AZURE_*, or give the workload an identity"
    } else if has(&["403", "Forbidden", "AccessDenied", "401", "Unauthenticated", "permission", "Permission"]) {
        "allow this identity to list, get, put and delete there"
    } else if has(&["NoSuchBucket", "404", "not found", "NotFound"]) {
        "make the bucket, or mend its name, the region or the endpoint"
    } else if has(&["301", "PermanentRedirect", "AuthorizationHeaderMalformed", "region"]) {
        "set AWS_REGION to the bucket's region"
    } else if has(&["dns", "connect", "Connect", "error sending request", "no answer"]) {
        "see that this machine reaches the endpoint (AWS_ENDPOINT, proxies, firewalls)"
    } else {
        "see the store's documentation of this message"
    };
    checks.push(Check::fail(name, error, advice));
    checks
}

/// Who one is to a store and how it is addressed, as far as the environment says. Secrets are not shown.
fn settings(what: &str, location: &Location) -> Check {
    let name = format!("{what}: settings");
    let read = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let first = |names: &[&str]| names.iter().find_map(|name| read(name));
    let has = |names: &'static [&'static str]| names.iter().find(|name| read(name).is_some());
    let found = match location.url().scheme() {
        "file" => "a folder of this machine".to_owned(),
        "s3" | "s3a" => {
            let identity = match has(&[
                "AWS_ACCESS_KEY_ID",
                "AWS_WEB_IDENTITY_TOKEN_FILE",
                "AWS_CONTAINER_CREDENTIALS_FULL_URI",
                "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
            ]) {
                Some(variable) => format!("identity by {variable}"),
                None => "identity of the machine".to_owned(),
            };
            let region = first(&["AWS_REGION", "AWS_DEFAULT_REGION"]).unwrap_or_else(|| "us-east-1 (none is set)".to_owned());
            let endpoint = first(&["AWS_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"]).unwrap_or_else(|| "Amazon's".to_owned());
            let virtual_hosted = read("AWS_VIRTUAL_HOSTED_STYLE_REQUEST").is_some_and(|value| value.eq_ignore_ascii_case("true"));
            let style = if virtual_hosted { "bucket in the host's name" } else { "bucket in the path" };
            format!("{identity}, region {region}, endpoint {endpoint}, {style}")
        }
        "gs" => match has(&[
            "GOOGLE_SERVICE_ACCOUNT",
            "GOOGLE_SERVICE_ACCOUNT_PATH",
            "GOOGLE_SERVICE_ACCOUNT_KEY",
            "GOOGLE_APPLICATION_CREDENTIALS",
        ]) {
            Some(variable) => format!("identity by {variable}"),
            None => "identity of the machine".to_owned(),
        },
        _ => match has(&[
            "AZURE_STORAGE_ACCOUNT_KEY",
            "AZURE_STORAGE_SAS_KEY",
            "AZURE_FEDERATED_TOKEN_FILE",
            "AZURE_CLIENT_SECRET",
            "AZURE_STORAGE_USE_EMULATOR",
        ]) {
            Some(variable) => format!("identity by {variable}"),
            None => "identity of the machine".to_owned(),
        },
    };
    Check::ok(name, found)
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::sync::Arc;

    use async_trait::async_trait;
    use futures::stream::BoxStream;
    use object_store::memory::InMemory;
    use object_store::{CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, PutMultipartOptions};

    use super::super::Verdict;
    use super::*;

    /// What a store does wrong.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Wrong {
        Nothing,
        /// Answers 200 to a put that may only create, and overwrites.
        IgnoresNoneMatch,
        /// Answers 501 to it.
        RefusesNoneMatch,
        /// Refuses it, and overwrites all the same.
        RefusesAndOverwrites,
        /// Answers 200 to an update of any version.
        IgnoresMatch,
        /// Keeps what is deleted.
        KeepsDeleted,
    }

    #[derive(Debug)]
    struct Faulty(InMemory, Wrong);

    impl fmt::Display for Faulty {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{self:?}")
        }
    }

    #[async_trait]
    impl ObjectStore for Faulty {
        async fn put_opts(&self, path: &Path, payload: PutPayload, mut options: PutOptions) -> object_store::Result<PutResult> {
            match (self.1, &options.mode) {
                (Wrong::IgnoresNoneMatch, PutMode::Create) | (Wrong::IgnoresMatch, PutMode::Update(_)) => options.mode = PutMode::Overwrite,
                (Wrong::RefusesNoneMatch, PutMode::Create) => {
                    return Err(Error::NotImplemented { operation: "put".to_owned(), implementer: "this".to_owned() });
                }
                (Wrong::RefusesAndOverwrites, PutMode::Create) => {
                    let put = self.0.put_opts(path, payload.clone(), options).await;
                    self.0.put(path, payload).await?;
                    return put;
                }
                _ => {}
            }
            self.0.put_opts(path, payload, options).await
        }
        async fn put_multipart_opts(&self, path: &Path, options: PutMultipartOptions) -> object_store::Result<Box<dyn MultipartUpload>> {
            self.0.put_multipart_opts(path, options).await
        }
        async fn get_opts(&self, path: &Path, options: GetOptions) -> object_store::Result<GetResult> {
            self.0.get_opts(path, options).await
        }
        fn delete_stream(&self, paths: BoxStream<'static, object_store::Result<Path>>) -> BoxStream<'static, object_store::Result<Path>> {
            if self.1 == Wrong::KeepsDeleted { paths } else { self.0.delete_stream(paths) }
        }
        fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, object_store::Result<ObjectMeta>> {
            self.0.list(prefix)
        }
        async fn list_with_delimiter(&self, prefix: Option<&Path>) -> object_store::Result<ListResult> {
            self.0.list_with_delimiter(prefix).await
        }
        async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> object_store::Result<()> {
            self.0.copy_opts(from, to, options).await
        }
    }

    /// The names of the checks that fail, and whether anything is left in the store.
    async fn failures(wrong: Wrong) -> (Vec<String>, bool) {
        let (store, stores) = (Arc::new(Faulty(InMemory::new(), wrong)), Stores::default());
        stores.register("s3://bucket", Arc::clone(&store) as _).unwrap();
        let checks = writable(&stores, &Location::parse("s3://bucket/facts").unwrap()).await;
        for check in &checks {
            assert_eq!(check.advice.is_some(), check.verdict != Verdict::Ok, "{check:?}");
        }
        let failed = checks.into_iter().filter(|check| check.verdict == Verdict::Fail).map(|check| check.name).collect();
        (failed, store.list(None).next().await.is_some())
    }

    #[tokio::test]
    async fn each_fault_of_a_store_is_found_by_its_name_and_nothing_is_left() {
        for (wrong, expected) in [
            (Wrong::Nothing, None),
            (Wrong::IgnoresNoneMatch, Some("facts: create-only put")),
            (Wrong::RefusesNoneMatch, Some("facts: create-only put")),
            (Wrong::RefusesAndOverwrites, Some("facts: create-only put")),
            (Wrong::IgnoresMatch, Some("facts: compare-and-swap")),
            (Wrong::KeepsDeleted, Some("facts: delete")),
        ] {
            let (failed, left) = failures(wrong).await;
            match expected {
                Some(name) => assert_eq!(failed, [name], "{wrong:?}"),
                None => assert_eq!(failed, Vec::<String>::new()),
            }
            assert_eq!(left, wrong == Wrong::KeepsDeleted, "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn a_folder_that_is_not_there_yet_is_not_there_afterwards() {
        let home = tempfile::tempdir().unwrap();
        let facts = Location::local(&home.path().join("a/b")).unwrap();
        let checks = writable(&Stores::default(), &facts).await;
        assert!(checks.iter().all(|check| check.verdict == Verdict::Ok), "{checks:?}");
        assert_eq!(std::fs::read_dir(home.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_fault_comes_with_what_to_do_about_it() {
        let advice = |error| failed(Vec::new(), "x", error).pop().unwrap().advice.unwrap();
        assert!(advice("error sending request for url (http://169.254.169.254/latest)").contains("no credentials"));
        assert!(advice("AccessDenied (403)").contains("allow"));
        assert!(advice("NoSuchBucket (404)").contains("bucket"));
    }
}
