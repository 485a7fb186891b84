//! The page in a headless Chromium: how it opens, reads, scrolls, prints and is used by keyboard, and what axe-core says of it.
//!
//! Chromium is found on the path, or named by BYTEFACTS_CHROMIUM; axe-core is installed by npm into the user's cache. Where one of them is not there, it
//! is said aloud and nothing is tested. `BYTEFACTS_PAGES=FOLDER` keeps the pages and a picture of each, to be looked at.

mod devtools;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use self::devtools::{Browser, Tab};
use super::*;
use crate::allow::AllowList;
use crate::report::tests::{nights, report};
use crate::report::{PycFinding, PycReport};

const AXE: &str = "axe-core@4.14.1";
/// CPU time of the page's thread until it is laid out, in seconds. Wall time hangs on what else the machine does, and is told.
const OPENS_IN: f64 = 2.0;
const DESKTOP: (u32, u32) = (1280, 900);
const PHONE: (u32, u32) = (390, 844);

fn not_tested(reason: &str) {
    let mut stderr = std::io::stderr().lock();
    writeln!(stderr, "\n*** NOT TESTED: the page of an audit in a browser: {reason}\n").unwrap();
}

/// The source of axe-core, installed for this user once.
fn axe() -> Option<String> {
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or_else(home)?.join("bytefacts-tests").join(AXE);
    let source = cache.join("node_modules/axe-core/axe.min.js");
    if !source.exists() {
        std::fs::create_dir_all(&cache).ok()?;
        let quiet = ["install", "--silent", "--no-fund", "--no-audit", "--no-save", "--ignore-scripts", "--prefix"];
        Command::new("npm").args(quiet).arg(&cache).arg(AXE).output().ok()?;
    }
    std::fs::read_to_string(source).ok()
}

/// A report in which every section has something to show.
fn page_of(findings: usize) -> String {
    let mut report = report(findings);
    if findings > 0 {
        let list = |until: &str, cause: &str| {
            format!("version: 1\nallow: [{{files: '**', cause: {cause}, reason: known, owner: o@example.org, link: l, until: {until}}}]\n")
        };
        report.allow(&AllowList::parse(&list("2026-01-31", "C09")).unwrap(), 30_000);
        let (stale, findings) = (std::mem::take(&mut report.stale), std::mem::take(&mut report.findings));
        report.allow(&AllowList::parse(&list("2999-01-31", "C44")).unwrap(), 30_000);
        (report.stale, report.findings) = (stale, findings);
        let found = |n: usize| PycFinding {
            path: format!("r/__pycache__/m{n}.cpython-313.pyc"),
            status: Status::Differs,
            reason: "consts differ".to_owned(),
        };
        report.pyc = Some(PycReport { counts: [(Status::Differs, 3), (Status::Same, 40)].into(), findings: (0..3).map(found).collect() });
    }
    render(&report, &nights(findings.min(70)))
}

/// What axe-core finds, a line for each rule.
fn violations(tab: &mut Tab<'_>, axe: &str) -> Vec<String> {
    let begun = std::time::Instant::now();
    tab.evaluate(&format!("{axe};0"));
    let found = tab.evaluate(
        "axe.run(document, {resultTypes: ['violations'], selectors: false, elementRef: false, iframes: false, preload: false}).then(r => r.violations.map(v => v.id + ': ' + v.help + ': ' + v.nodes.slice(0, 3).map(n => n.html).join(' | ')))",
    );
    eprintln!("axe-core took {:.1} s", begun.elapsed().as_secs_f64());
    found.as_array().unwrap().iter().map(|line| line.as_str().unwrap().to_owned()).collect()
}

fn keep(tab: &mut Tab<'_>, name: &str) {
    let Some(folder) = std::env::var_os("BYTEFACTS_PAGES") else { return };
    let picture = tab.call("Page.captureScreenshot", json!({ "format": "png" }));
    let bytes = devtools::bytes(picture["data"].as_str().unwrap());
    std::fs::write(Path::new(&folder).join(format!("{name}.png")), bytes).unwrap();
}

#[test]
fn the_page_opens_reads_and_prints_in_a_browser() {
    let Some(program) = devtools::chromium() else {
        return not_tested("there is no Chromium: install one, or name it by BYTEFACTS_CHROMIUM");
    };
    let Some(axe) = axe() else { return not_tested("axe-core cannot be installed: npm is not there, or its registry cannot be reached") };
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(&program, folder.path());
    for findings in [0, 10, 10_000] {
        let path = folder.path().join(format!("audit-{findings}.html"));
        std::fs::write(&path, page_of(findings)).unwrap();
        if let Some(folder) = std::env::var_os("BYTEFACTS_PAGES") {
            std::fs::copy(&path, Path::new(&folder).join(path.file_name().unwrap())).unwrap();
        }
        for (size, name) in [(DESKTOP, "desktop"), (PHONE, "phone")] {
            for scheme in ["light", "dark"] {
                let what = format!("{findings} findings, {name}, {scheme}");
                let mut tab = browser.tab(size, scheme);
                let opened = tab.open(&path, "");
                eprintln!("{what}: opened in {:.2} s, of which {:.2} s CPU of its thread", opened.wall, opened.cpu);
                assert!(opened.cpu < OPENS_IN, "{what}: {:.2} s of CPU", opened.cpu);
                assert_eq!(opened.requests, [path.to_str().unwrap()], "{what}: nothing else is asked for");
                assert_eq!(tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), true, "{what}: it scrolls sideways");
                keep(&mut tab, &format!("{findings}-{name}-{scheme}"));
                if findings > 1_000 {
                    // axe-core takes minutes for all of them. What repeats is looked at in a hundred places, and as the page's own filter leaves them.
                    tab.evaluate("document.querySelectorAll('.finding').forEach((f, at) => { f.hidden = at % 20 > 0; })");
                }
                if findings <= 1_000 || scheme == "light" {
                    assert_eq!(violations(&mut tab, &axe), Vec::<String>::new(), "{what}");
                }
                if findings == 10 {
                    tab.evaluate("for (const d of document.querySelectorAll('details')) d.open = true");
                    assert_eq!(violations(&mut tab, &axe), Vec::<String>::new(), "{what}, with all of it open");
                    assert_eq!(tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), true, "{what}: it scrolls sideways");
                    tab.evaluate("document.querySelector('.finding').scrollIntoView()");
                    keep(&mut tab, &format!("{findings}-{name}-{scheme}-open"));
                }
                tab.close();
            }
        }
    }
}

#[test]
fn the_page_is_used_by_keyboard_by_address_and_on_paper() {
    let Some(program) = devtools::chromium() else {
        return not_tested("there is no Chromium: install one, or name it by BYTEFACTS_CHROMIUM");
    };
    let folder = tempfile::tempdir().unwrap();
    let mut browser = Browser::start(&program, folder.path());
    let path = folder.path().join("audit.html");
    std::fs::write(&path, page_of(10)).unwrap();

    let mut tab = browser.tab(DESKTOP, "light");
    tab.open(&path, "");
    let focus = "document.activeElement.className || document.activeElement.tagName";
    tab.key("Tab");
    assert_eq!(tab.evaluate(focus), "skip", "the first stop skips to the findings");
    tab.key("Enter");
    assert_eq!(tab.evaluate("location.hash"), "#findings");
    tab.key("Tab");
    assert_eq!(tab.evaluate("document.activeElement.id"), "filter");
    tab.call("Input.insertText", json!({ "text": "c16" }));
    assert_eq!(tab.evaluate("document.getElementById('shown').textContent"), "2 of 10 shown");
    tab.key("Tab");
    assert_eq!(tab.evaluate(focus), "SUMMARY");
    assert_eq!(tab.evaluate("document.activeElement.textContent.includes('C16')"), true, "what is filtered out is no stop");
    tab.key("Enter");
    let visible = "document.querySelectorAll('.finding .dis').values().filter(t => t.checkVisibility({contentVisibilityAuto: true})).toArray().length";
    assert_eq!(tab.evaluate(visible), 1, "Enter opens it");
    let aloud = tab.aloud();
    for said in ["changed", "added", "removed", "under the condition"] {
        assert!(aloud.iter().any(|name| name == said), "{said}: {aloud:?}");
    }
    assert!(!aloud.iter().any(|name| name == "~"), "signs are for the eye");
    tab.close();

    let id = report(10).findings[3].id.clone();
    let mut tab = browser.tab(DESKTOP, "light");
    tab.open(&path, &format!("#f-{id}"));
    assert_eq!(tab.evaluate(&format!("document.getElementById('f-{id}').open")), true, "an address opens what it names");
    assert_eq!(tab.evaluate("document.querySelectorAll('details[open]').length"), 1);
    tab.call("Emulation.setEmulatedMedia", json!({ "media": "print" }));
    let all = tab.evaluate("document.querySelectorAll('.dis').length");
    let printed = "document.querySelectorAll('.dis').values().filter(t => t.getBoundingClientRect().height > 0).toArray().length";
    assert_eq!((tab.evaluate(printed), all), (Value::from(8), Value::from(8)), "what is closed is printed, without a script's help");
    assert_eq!(tab.evaluate("getComputedStyle(document.getElementById('filter')).display"), "none");
    tab.close();
}
