//! What a file beyond the limit costs. A binary of one test, since the peak that Linux notes is the process's.

#![expect(clippy::unwrap_used, reason = "a test fails by a panic")]

mod common;

use std::fs;

use bytefacts_facts::{FileInput, Options, RowBuilder};
use common::{attrs, read_frames, run_python};

/// A line of `/proc/self/status`, in bytes.
fn status(line: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let kilobytes = status.lines().find_map(|each| each.strip_prefix(line)?.strip_suffix("kB")).unwrap();
    kilobytes.trim().parse::<usize>().unwrap() << 10
}

/// What `work` takes at its peak beyond what there was before.
fn peak<T>(work: impl FnOnce() -> T) -> (T, usize) {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS:");
    let done = work();
    (done, status("VmHWM:").saturating_sub(before))
}

/// Constants of texts that are repeated, as many as are named, each of 16.7 million characters.
fn folded(constants: u8) -> String {
    let line = |n: u8| format!("x{n} = ((b'\\x{:x}' * 4096,) * 255,) * 4\n", 0x80 + n);
    (0..constants).map(line).collect()
}

#[test]
fn a_file_beyond_the_limit_costs_no_more_than_its_code() {
    if fs::write("/proc/self/clear_refs", "5").is_err() {
        println!("skipped: this system does not tell the peak of a process");
        return;
    }
    let folder = std::env::temp_dir().join(format!("bytefacts-memory-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let set = "(b'\\xff' * 4096,) * 255, ".repeat(20);
    let sources = [
        ("eight.py", folded(8)),
        ("forty.py", folded(40)),
        ("loads.py", "f('\\0' * 4096)\n".repeat(30_000)),
        ("set.py", format!("x in {{{set}}}\n") + &folded(12)),
    ];
    for (name, source) in &sources {
        fs::write(folder.join(name), source).unwrap();
    }
    let units = read_frames(&run_python("compile.py", &[folder.to_str().unwrap()]));
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(units.len(), sources.len());
    for unit in &units {
        let mut builder = RowBuilder::new(&attrs(true), Options::default());
        let input = FileInput { path: &unit.path, code: Some(&unit.code), ..FileInput::default() };
        let (stats, peak) = peak(|| builder.append(input).unwrap());
        assert_eq!(stats.errors.first().map(|error| error.error_type.as_str()), Some("FactsTooLarge"), "{}", unit.path);
        assert!(stats.errors[0].message.contains("536870912 bytes"), "{}", stats.errors[0].message);
        // The code is decoded, and its instructions are looked at.
        let most = 2 * unit.code.len() + (128 << 20);
        println!("{}: {} bytes of code, {peak} bytes at the peak", unit.path, unit.code.len());
        assert!(peak < most, "{} takes {peak} bytes, and should take no more than {most}", unit.path);
    }
}
