//! What ended a process: what it worked on, or somebody else.
//!
//! Nobody is blamed for a kill from outside: an interrupt, a drain, a neighbour's hunger for memory. Blame needs evidence, and this is all that
//! there is: the signal, whether the kernel says that it has killed somebody here for want of memory meanwhile, and how much of the memory the
//! process took for this work. The kernel's choice alone is no evidence: it may take a small process for what a large one does, and where there is
//! hardly room for the processes themselves, it takes whichever works.

use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use tokio::time::sleep;

/// What ended a process that did not exit by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// A signal that only a process's own doing brings about, such as `SIGSEGV`: its name.
    OfItself(String),
    /// The kernel, for want of memory, of which the process took a good part for its work.
    OutOfMemory,
    /// A signal that others send, or the kernel for want of memory that others had: its name.
    FromOutside(String),
}

/// Watches a process at one piece of work, to tell what ended it if it dies of it.
#[derive(Debug, Clone, Copy)]
pub struct Witness {
    process: Option<u32>,
    /// Processes that the kernel had killed for want of memory when the work began.
    kills_before: Option<u64>,
    /// Memory of its own that the process had when the work began, in bytes.
    before: u64,
    /// The most that it was seen to have.
    peak: u64,
}

/// How often the process is looked at. A process takes some milliseconds for as many megabytes.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Who has taken less than this part of all memory has not used it up.
const GOOD_PART: u64 = 4;

impl Witness {
    /// A witness of what the process of this id begins now.
    #[must_use]
    pub fn of(process: Option<u32>) -> Self {
        let before = process.and_then(own_memory).unwrap_or(0);
        Self { process, kills_before: out_of_memory_kills(), before, peak: before }
    }

    /// Waits for the work, or for its end with the process, and watches meanwhile.
    pub async fn watch<T>(&mut self, work: impl Future<Output = T>) -> T {
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                done = &mut work => return done,
                () = sleep(LOOK_EVERY) => self.look(),
            }
        }
    }

    /// Like [`Witness::watch`], but gives up, with `None`, when the process has nearly all the memory that is left beside this one. In a container
    /// the kernel often kills all processes at once for the hunger of one, and then nobody is left to say whose it was.
    pub async fn watch_hunger<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        // All of ours, the program itself included: by that the kernel chooses whom it kills.
        let ours = status_of(std::process::id()).and_then(|status| resident_in(&status)).unwrap_or(0);
        let limit = memory_there_is().map_or(u64::MAX, |all| self.hungry_at(all, ours));
        self.watch_below(limit, work).await
    }

    /// Where it has nearly all of `all` that is left beside `others`, and has not had it from the beginning.
    fn hungry_at(&self, all: u64, others: u64) -> u64 {
        (all.saturating_sub(others) / 10 * 9).max(self.before.saturating_add(all / GOOD_PART))
    }

    async fn watch_below<T>(&mut self, bytes: u64, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        while self.peak < bytes {
            tokio::select! {
                biased;
                done = &mut work => return Some(done),
                () = sleep(LOOK_EVERY) => self.look(),
            }
        }
        None
    }

    fn look(&mut self) {
        self.peak = self.peak.max(self.process.and_then(own_memory).unwrap_or(0));
    }

    /// What ended the process, if it died; `None` for one that exited.
    #[must_use]
    pub fn ending(&self, status: ExitStatus) -> Option<Ending> {
        let signal = status.signal()?;
        let has_killed = || matches!((self.kills_before, out_of_memory_kills()), (Some(before), Some(now)) if now > before);
        let is_large = || memory_there_is().is_some_and(|all| self.peak.saturating_sub(self.before) >= all / GOOD_PART);
        Some(match signal {
            _ if OF_ITSELF.contains(&signal) => Ending::OfItself(signal_name(signal)),
            SIGKILL if has_killed() && is_large() => Ending::OutOfMemory,
            _ => Ending::FromOutside(signal_name(signal)),
        })
    }
}

const SIGKILL: i32 = 9;
const SIGBUS: i32 = if cfg!(target_os = "macos") { 10 } else { 7 };
const SIGSYS: i32 = if cfg!(target_os = "macos") { 12 } else { 31 };

/// SIGILL, SIGTRAP, SIGABRT, SIGBUS, SIGFPE, SIGSEGV, SIGSYS: the kernel's and the C library's answers to what a process does.
const OF_ITSELF: [i32; 7] = [4, 5, 6, SIGBUS, 8, 11, SIGSYS];

/// POSIX names of the signals that end processes.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        SIGBUS => "SIGBUS",
        8 => "SIGFPE",
        SIGKILL => "SIGKILL",
        11 => "SIGSEGV",
        15 => "SIGTERM",
        SIGSYS => "SIGSYS",
        _ => return format!("signal {signal}"),
    };
    name.to_owned()
}

/// Processes of this control group that the kernel has killed for want of memory; of the whole machine where groups are not to be seen, and
/// `None` where nothing is.
fn out_of_memory_kills() -> Option<u64> {
    let counters = group_files("memory.events", "memory.oom_control").into_iter().chain([PathBuf::from("/proc/vmstat")]);
    counters.into_iter().find_map(|file| number_after("oom_kill ", &fs::read_to_string(file).ok()?))
}

/// Bytes of memory that the processes of this control group may have together, at most all of the machine's.
fn memory_there_is() -> Option<u64> {
    let machine = number_after("MemTotal:", &fs::read_to_string("/proc/meminfo").ok()?)?.saturating_mul(1 << 10);
    let limit = group_files("memory.max", "memory.limit_in_bytes");
    // Without a limit a file says `max`, or more than any machine has.
    let limit = limit.into_iter().find_map(|file| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok());
    Some(limit.map_or(machine, |limit| limit.min(machine)))
}

/// Bytes of memory that a process which lives has for itself.
fn own_memory(process: u32) -> Option<u64> {
    own_memory_in(&status_of(process)?)
}

/// What the kernel says of a process that lives.
fn status_of(process: u32) -> Option<String> {
    fs::read_to_string(format!("/proc/{process}/status")).ok()
}

/// Bytes of resident memory, the program's own pages included.
fn resident_in(status: &str) -> Option<u64> {
    Some(number_after("VmRSS:", status)?.saturating_mul(1 << 10))
}

/// What is a file's, such as the program itself, is shared by all that run it, and given back before anybody is killed: it does not count, where that is told.
fn own_memory_in(status: &str) -> Option<u64> {
    let own = number_after("RssAnon:", status).map(|own| own + number_after("RssShmem:", status).unwrap_or(0));
    own.map(|own| own.saturating_mul(1 << 10)).or_else(|| resident_in(status))
}

/// Where a file of this process's control group may be, by its names in both versions of groups.
fn group_files(of_two: &str, of_one: &str) -> Vec<PathBuf> {
    files_of(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default(), of_two, of_one)
}

/// As the machine sees the groups that `/proc/self/cgroup` names, and as a container does, whose own group is the root.
fn files_of(own: &str, of_two: &str, of_one: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (_, Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", of_two),
            _ if controllers.split(',').any(|c| c == "memory") => ("/sys/fs/cgroup/memory", of_one),
            _ => continue,
        };
        let root = Path::new(root);
        files.extend([root.join(group.trim_start_matches('/')).join(file), root.join(file)]);
    }
    files
}

/// The number in the line that begins so, without its unit.
fn number_after(name: &str, text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::task::Poll;

    use super::*;

    /// A witness in whose time so many processes were killed for want of memory, and whose own had so much of it.
    fn witness(kills: u64, peak: u64) -> Witness {
        Witness { kills_before: out_of_memory_kills().map(|now| now.wrapping_sub(kills)), peak, ..Witness::of(None) }
    }

    fn ending(of: &Witness, signal: i32) -> Option<Ending> {
        of.ending(ExitStatus::from_raw(signal))
    }

    #[test]
    fn only_what_a_process_does_to_itself_is_its_own() {
        let now = Witness::of(None);
        for (signal, name) in [(4, "SIGILL"), (6, "SIGABRT"), (SIGBUS, "SIGBUS"), (8, "SIGFPE"), (11, "SIGSEGV")] {
            assert_eq!(ending(&now, signal), Some(Ending::OfItself(name.to_owned())));
        }
        for (signal, name) in [(1, "SIGHUP"), (2, "SIGINT"), (9, "SIGKILL"), (15, "SIGTERM"), (29, "signal 29")] {
            assert_eq!(ending(&now, signal), Some(Ending::FromOutside(name.to_owned())));
        }
        assert_eq!(now.ending(ExitStatus::from_raw(3 << 8)), None, "it exited");
    }

    #[test]
    fn who_had_little_memory_has_not_used_it_up() {
        let Some(all) = memory_there_is() else { return };
        let outside = Some(Ending::FromOutside("SIGKILL".to_owned()));
        assert_eq!(ending(&witness(0, all), SIGKILL), outside, "the kernel has killed nobody");
        assert_eq!(ending(&witness(1, all / 8), SIGKILL), outside, "others had it");
        if witness(1, 0).kills_before.is_some_and(|before| before < u64::MAX) {
            assert_eq!(ending(&witness(1, all / 2), SIGKILL), Some(Ending::OutOfMemory));
            let had_it_before = Witness { before: all / 2, ..witness(1, all / 2 + all / 8) };
            assert_eq!(ending(&had_it_before, SIGKILL), outside, "it had most of that before this work");
        }
        assert_eq!(ending(&Witness { kills_before: None, ..witness(1, all) }, SIGKILL), outside, "there is no telling");
    }

    /// Work that is over when it has been looked at some times: nothing but the looks wakes it.
    async fn looked_at() {
        let mut looks = 0;
        std::future::poll_fn(|_| {
            looks += 1;
            if looks > 10 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    #[tokio::test]
    async fn the_memory_of_a_process_is_seen_while_it_works() {
        let mut witness = Witness::of(Some(std::process::id()));
        let held = witness.watch(async {
            let held = vec![1u8; 64 << 20];
            looked_at().await;
            held
        });
        assert_eq!(held.await.len(), 64 << 20);
        assert!(witness.peak >= 64 << 20 || cfg!(not(target_os = "linux")), "{}", witness.peak);
    }

    #[tokio::test]
    async fn who_eats_up_what_is_left_is_not_waited_for() {
        if cfg!(not(target_os = "linux")) {
            return;
        }
        let mut witness = Witness::of(Some(std::process::id()));
        assert_eq!(witness.watch_below(1 << 60, looked_at()).await, Some(()));
        assert_eq!(witness.watch_below(witness.peak / 2, looked_at()).await, None);
        assert_eq!(Witness::of(None).watch_hunger(looked_at()).await, Some(()), "of nobody nothing is known");
    }

    /// In a container that hardly holds the processes themselves, whichever file is at work takes the last of it.
    #[test]
    fn nobody_is_hungry_for_what_it_had_before() {
        let mib = |count: u64| count << 20;
        let at = |before, all, others| Witness { before, ..Witness::of(None) }.hungry_at(all, others) >> 20;
        assert_eq!(at(mib(20), mib(96), mib(80)), 44, "not the 14 that are left");
        assert_eq!(at(mib(20), mib(1_000), mib(100)), 810);
    }

    #[test]
    fn the_program_itself_does_not_count() {
        assert_eq!(own_memory_in("VmRSS:\t  900 kB\nRssAnon:\t  100 kB\nRssFile:\t  790 kB\nRssShmem:\t  10 kB\n"), Some(110 << 10));
        assert_eq!(own_memory_in("VmRSS:\t  900 kB\n"), Some(900 << 10), "where no more is told");
        assert_eq!(own_memory_in("Name:\tx\n"), None);
        assert_eq!(resident_in("VmRSS:\t  900 kB\nRssAnon:\t  100 kB\n"), Some(900 << 10), "the kernel counts it when it chooses");
    }

    #[test]
    fn groups_of_both_kinds_are_found() {
        let paths = |own: &str| files_of(own, "two", "one").iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
        assert_eq!(paths("0::/a/b\n"), ["/sys/fs/cgroup/a/b/two", "/sys/fs/cgroup/two"]);
        assert_eq!(paths("5:cpu:/x\n4:memory:/a\n"), ["/sys/fs/cgroup/memory/a/one", "/sys/fs/cgroup/memory/one"]);
        assert_eq!(number_after("oom_kill ", "low 0\noom 3\noom_kill 2\noom_group_kill 1\n"), Some(2));
        assert_eq!(number_after("oom_kill ", "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n"), Some(7));
        assert_eq!(number_after("VmRSS:", "Name: x\nVmRSS:\t  1234 kB\n"), Some(1234));
        assert_eq!(number_after("oom_kill ", "nothing"), None);
    }
}
