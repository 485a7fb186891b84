//! What the system knows of this process, under the names that every Prometheus client has.

use std::path::Path;

use crate::readings::{Reading, number};

/// So many ticks of the clock that processes are measured by are a second, on every Linux of today.
const TICKS: u64 = 100;

/// The metrics of this process; those that the system does not tell are left out.
pub(crate) fn readings() -> Vec<Reading> {
    let text = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let of = Figures::read(&text("/proc/self/stat"), &text("/proc/self/status"), &text("/proc/stat"));
    let files = std::fs::read_dir(Path::new("/proc/self/fd")).map_or(0, |files| files.count() as u64);
    let seconds = |name, help, ticks: Option<u64>| ticks.map(|ticks| Reading::seconds(name, help, ticks * (1_000_000 / TICKS)));
    let gauge = |name, help, value: Option<u64>| value.map(|value| Reading::gauge(name, help, value));
    let start = of.start_ticks.zip(of.boot_seconds).map(|(ticks, boot)| {
        let at = number(boot) + number(ticks) / number(TICKS);
        Reading::gauges("process_start_time_seconds", "When this process began, in seconds since 1970.", [(Vec::new(), at)])
    });
    [
        seconds("process_cpu_seconds_total", "CPU time of this process, its children that have ended not included.", of.cpu_ticks),
        gauge("process_resident_memory_bytes", "Memory of this process that is in RAM.", of.resident_bytes),
        gauge("process_open_fds", "Files that this process has open.", Some(files).filter(|files| *files > 0)),
        start,
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    cpu_ticks: Option<u64>,
    start_ticks: Option<u64>,
    resident_bytes: Option<u64>,
    boot_seconds: Option<u64>,
}

impl Figures {
    /// From the texts of `/proc/self/stat`, `/proc/self/status` and `/proc/stat`.
    fn read(stat: &str, status: &str, system: &str) -> Self {
        // The name may hold anything, and ends with the last bracket.
        let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
        let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let line =
            |text: &str, name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
        Self {
            cpu_ticks: field(11).zip(field(12)).map(|(user, system)| user + system),
            start_ticks: field(19),
            resident_bytes: line(status, "VmRSS:").map(|kilobytes| kilobytes * 1024),
            boot_seconds: line(system, "btime "),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_where_the_kernel_writes_them() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 9 0 12345 1000000 77 18446744073709551615 0";
        let found = Figures::read(stat, "Name:\tx\nVmRSS:\t   308 kB\n", "cpu 1 2\nbtime 1700000000\n");
        let expected =
            Figures { cpu_ticks: Some(300), start_ticks: Some(12345), resident_bytes: Some(308 * 1024), boot_seconds: Some(1_700_000_000) };
        assert_eq!(found, expected);
        assert_eq!(Figures::read("", "", ""), Figures::default());
    }
}
