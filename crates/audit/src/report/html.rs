//! The report as one page of HTML that needs nothing else: no network, no other file. It reads in light and dark, by keyboard, aloud and on paper.

use std::fmt::Write as _;

#[cfg(test)]
mod browser;
mod sides;

use self::sides::Room;
use super::{DriftReport, Finding, Night, PycReport, Report, escaped, file_name, findings_sql};
use crate::night::Kind;
use crate::pyc::Status;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Findings that stand in the page; a browser takes that many in a second. The worst come first, and all are in `determinism_audit_v1`.
const SHOWN: usize = 2_000;
/// Edits of a second interpreter that are shown.
const EDITS: usize = 40;
/// Rows of any other table.
const ROWS: usize = 200;
/// Nights of the trend.
const NIGHTS: usize = 60;

/// Writes the page. `earlier` are the nights before, the newest first.
#[must_use]
pub fn render(report: &Report, earlier: &[Night]) -> String {
    let mut page = String::new();
    // Writing to a String does not fail.
    let _ = write(report, earlier, &mut page);
    page
}

fn write(report: &Report, earlier: &[Night], page: &mut String) -> std::fmt::Result {
    let plan = &report.plan;
    let title = escaped(&format!("Determinism of run {}, night {}", plan.run, plan.night));
    writeln!(page, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">")?;
    writeln!(
        page,
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">"
    )?;
    writeln!(page, "<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>")?;
    writeln!(page, "<a class=\"skip\" href=\"#findings\">Skip to the findings</a>\n<header>\n<h1>{title}</h1>")?;
    head(report, page)?;
    writeln!(page, "</header>\n<main>")?;
    trend(report, earlier, page)?;
    conditions(report, page)?;
    causes(report, page)?;
    stale(report, page)?;
    unmatched(report, page)?;
    findings(report, page)?;
    if let Some(pyc) = &report.pyc {
        write_pyc(pyc, page)?;
    }
    for (index, drift) in report.drift.iter().enumerate() {
        write_drift(index, drift, page)?;
    }
    coverage(report, page)?;
    sql(report, page)?;
    writeln!(
        page,
        "</main>\n<footer><p>bytefacts {} · audit {} · digests {}</p></footer>",
        env!("CARGO_PKG_VERSION"),
        escaped(&plan.audit),
        escaped(&report.forms.join(", "))
    )?;
    writeln!(page, "<script>\n{SCRIPT}</script>\n</body>\n</html>")
}

fn head(report: &Report, page: &mut String) -> std::fmt::Result {
    let (plan, verdicts) = (&report.plan, &report.verdicts);
    let (class, mut said) = match (verdicts.bad, verdicts.fail) {
        (0, 0) if report.covered == 0 => ("unknown", "Nothing was derived again: nothing is known.".to_owned()),
        (0, 0) => ("good", "Deterministic: every file that was derived again gave the same facts.".to_owned()),
        (0, fail) => ("fail", format!("{} failed; nothing differed.", many(fail, "second derivation"))),
        (bad, 0) => ("bad", format!("{} gave other facts.", many(bad, "derivation"))),
        (bad, fail) => ("bad", format!("{} gave other facts, and {} failed.", many(bad, "derivation"), number(fail))),
    };
    if report.allowed > 0 {
        said.push_str(&format!(" The allow-list lets {} of these pass.", number(report.allowed)));
    }
    if !report.complete {
        said.push_str(" The CPU time was spent before all of tonight’s sample was covered.");
    }
    writeln!(page, "<p class=\"verdict {class}\">{}</p>", escaped(&said))?;
    writeln!(page, "<dl class=\"figures\">")?;
    for (name, class, n) in [
        ("good", "good", verdicts.good),
        ("bad", "bad", verdicts.bad),
        ("fail", "fail", verdicts.fail),
        ("unknown", "unknown", verdicts.unknown),
    ] {
        writeln!(page, "<div class=\"{class}\"><dt>{name}</dt><dd>{}</dd></div>", number(n))?;
    }
    let version = plan.interpreter.get("version").and_then(serde_json::Value::as_str).unwrap_or("?");
    writeln!(
        page,
        "</dl>\n<p>{} × {}. Tonight’s sample has {}, {} of them derived again; all are covered after {}. CPython {}, preset {}, corpus <code>{}</code>.</p>",
        many(report.files, "file"),
        many(plan.conditions.len() as u64, "condition"),
        many(report.sampled, "file"),
        number(report.covered),
        many(plan.nights, "night"),
        escaped(version),
        escaped(&plan.preset),
        escaped(&plan.corpus)
    )
}

/// What nights came to, this one first: a row and a bar each.
fn trend(report: &Report, earlier: &[Night], page: &mut String) -> std::fmt::Result {
    if earlier.is_empty() {
        return Ok(());
    }
    let tonight = Night {
        audit: report.plan.audit.clone(),
        night: report.plan.night,
        preset: report.plan.preset.clone(),
        complete: report.complete,
        files: report.files,
        covered: report.covered,
        verdicts: report.verdicts,
    };
    let nights: Vec<&Night> = std::iter::once(&tonight).chain(earlier).take(NIGHTS).collect();
    let most = nights.iter().map(|night| night.verdicts.bad + night.verdicts.fail).max().unwrap_or(0).max(1);
    writeln!(
        page,
        "<section aria-labelledby=\"trend\">\n<h2 id=\"trend\">Nights</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table: Nights\"><table>\n<thead><tr><th scope=\"col\">night</th><th scope=\"col\">preset</th><th scope=\"col\" class=\"n\">files</th><th scope=\"col\" class=\"n\">covered</th><th scope=\"col\" class=\"n\">good</th><th scope=\"col\" class=\"n\">bad</th><th scope=\"col\" class=\"n\">fail</th><th scope=\"col\"><span class=\"aloud\">bad and failed</span></th></tr></thead>\n<tbody>"
    )?;
    for night in &nights {
        let Night { verdicts, .. } = night;
        let found = verdicts.bad + verdicts.fail;
        let class = if verdicts.bad > 0 { "bad" } else { "fail" };
        let bar =
            if found > 0 { format!("<span class=\"bar {class}\" style=\"width:{}%\"></span>", found * 100 / most) } else { String::new() };
        writeln!(
            page,
            "<tr><th scope=\"row\">{}{}</th><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td><td>{bar}</td></tr>",
            night.night,
            if night.complete { "" } else { " (not complete)" },
            escaped(&night.preset),
            number(night.files),
            number(night.covered),
            number(verdicts.good),
            number(verdicts.bad),
            number(verdicts.fail)
        )?;
    }
    writeln!(page, "</tbody></table></div>")?;
    cut(nights.len(), earlier.len() + 1, "night", page)?;
    writeln!(page, "</section>")
}

/// Says that a table has more rows than stand here, and where they are.
fn cut(shown: usize, all: usize, what: &str, page: &mut String) -> std::fmt::Result {
    if shown >= all {
        return Ok(());
    }
    writeln!(
        page,
        "<p class=\"note\">{} of {} are shown: <a href=\"#sql\">SQL has all of them</a>.</p>",
        number(shown as u64),
        many(all as u64, what)
    )
}

fn conditions(report: &Report, page: &mut String) -> std::fmt::Result {
    writeln!(
        page,
        "<section aria-labelledby=\"conditions\">\n<h2 id=\"conditions\">Conditions</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table: Conditions\"><table class=\"conditions\">"
    )?;
    writeln!(
        page,
        "<thead><tr><th scope=\"col\">condition</th><th scope=\"col\">what is varied</th><th scope=\"col\" class=\"n\">good</th><th scope=\"col\" class=\"n\">bad</th><th scope=\"col\" class=\"n\">fail</th><th scope=\"col\" class=\"n\">unknown</th><th scope=\"col\" class=\"n\">streams</th></tr></thead>\n<tbody>"
    )?;
    for condition in report.conditions_counted.iter().take(ROWS) {
        let c = &condition.counts;
        let mark = |n: u64, class: &str| {
            if n > 0 { format!("<td class=\"n {class}\">{}</td>", number(n)) } else { "<td class=\"n\">0</td>".to_owned() }
        };
        writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td class=\"n\">{}</td>{}{}<td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escaped(&condition.name),
            escaped(&condition.about),
            number(c.good),
            mark(c.bad, "bad"),
            mark(c.fail, "fail"),
            number(c.unknown),
            number(condition.streams)
        )?;
    }
    writeln!(
        page,
        "</tbody></table></div>\n<p class=\"note\">Streams: good, and the marshal streams differ, which tells what else a process had compiled, or its hash seed (C47), and is no fault.</p>"
    )?;
    cut(report.conditions_counted.len().min(ROWS), report.conditions_counted.len(), "condition", page)?;
    writeln!(page, "</section>")
}

fn causes(report: &Report, page: &mut String) -> std::fmt::Result {
    if report.causes.is_empty() {
        return Ok(());
    }
    let most = report.causes.iter().map(|cause| cause.count).max().unwrap_or(1).max(1);
    writeln!(
        page,
        "<section aria-labelledby=\"causes\">\n<h2 id=\"causes\">Causes</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table: Causes\"><table>\n<thead><tr><th scope=\"col\">code</th><th scope=\"col\">cause</th><th scope=\"col\">verdict</th><th scope=\"col\" class=\"n\">count</th><th scope=\"col\"><span class=\"aloud\">share</span></th></tr></thead>\n<tbody>"
    )?;
    for cause in &report.causes {
        let share = cause.count * 100 / most;
        writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td class=\"n\">{}</td><td><span class=\"bar {}\" style=\"width:{share}%\"></span></td></tr>",
            escaped(&cause.code),
            escaped(&cause.title),
            cause.kind.as_str(),
            number(cause.count),
            cause.kind.as_str()
        )?;
    }
    writeln!(page, "</tbody></table></div>\n</section>")
}

/// Entries of the allow-list that have expired.
fn stale(report: &Report, page: &mut String) -> std::fmt::Result {
    if report.stale.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "<section aria-labelledby=\"stale\">\n<h2 id=\"stale\">Allowed no longer</h2>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table: Allowed no longer\"><table>\n<thead><tr><th scope=\"col\">files</th><th scope=\"col\">cause</th><th scope=\"col\">until</th><th scope=\"col\">owner</th><th scope=\"col\">why, and where</th><th scope=\"col\" class=\"n\">findings</th></tr></thead>\n<tbody>"
    )?;
    for stale in report.stale.iter().take(ROWS) {
        let entry = &stale.entry;
        writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{} ({})</td><td class=\"n\">{}</td></tr>",
            escaped(&entry.files),
            escaped(&entry.cause),
            escaped(&entry.until),
            escaped(&entry.owner),
            escaped(&entry.reason),
            escaped(&entry.link),
            number(stale.matches)
        )?;
    }
    writeln!(page, "</tbody></table></div>\n</section>")
}

/// Entries of the allow-list that nothing needed tonight.
fn unmatched(report: &Report, page: &mut String) -> std::fmt::Result {
    if report.unmatched.is_empty() {
        return Ok(());
    }
    writeln!(
        page,
        "<section aria-labelledby=\"unmatched\">\n<h2 id=\"unmatched\">Allowed, and not found tonight</h2>\n<p>Where another night covers the files, it may still be needed.</p>\n<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table: Allowed, and not found tonight\"><table>\n<thead><tr><th scope=\"col\">files</th><th scope=\"col\">cause</th><th scope=\"col\">condition</th><th scope=\"col\">until</th><th scope=\"col\">owner</th><th scope=\"col\">why, and where</th></tr></thead>\n<tbody>"
    )?;
    for entry in report.unmatched.iter().take(ROWS) {
        writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{} ({})</td></tr>",
            escaped(&entry.files),
            escaped(&entry.cause),
            escaped(entry.condition.as_deref().unwrap_or("every one")),
            escaped(&entry.until),
            escaped(&entry.owner),
            escaped(&entry.reason),
            escaped(&entry.link)
        )?;
    }
    writeln!(page, "</tbody></table></div>\n</section>")
}

fn write_pyc(pyc: &PycReport, page: &mut String) -> std::fmt::Result {
    writeln!(page, "<section aria-labelledby=\"pyc\">\n<h2 id=\"pyc\">Shipped bytecode</h2>\n<dl class=\"figures\">")?;
    for status in Status::ALL {
        let (class, n) = (if status.is_finding() { "bad" } else { "unknown" }, pyc.counts.get(&status).copied().unwrap_or(0));
        writeln!(
            page,
            "<div class=\"{}\"><dt>{}</dt><dd>{}</dd></div>",
            if n > 0 { class } else { "unknown" },
            status.as_str(),
            number(n)
        )?;
    }
    writeln!(page, "</dl>")?;
    if pyc.findings.is_empty() {
        return writeln!(page, "</section>");
    }
    writeln!(
        page,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table: Shipped bytecode\"><table>\n<thead><tr><th scope=\"col\">file</th><th scope=\"col\">status</th><th scope=\"col\">why</th></tr></thead>\n<tbody>"
    )?;
    for file in pyc.findings.iter().take(ROWS) {
        writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td>{}</td><td>{}</td></tr>",
            escaped(&file.path),
            file.status.as_str(),
            escaped(&file.reason)
        )?;
    }
    writeln!(page, "</tbody></table></div>")?;
    if pyc.findings.len() > ROWS {
        writeln!(
            page,
            "<p class=\"note\">{} of {} are shown: <code>bytefacts pyc</code> has all of them.</p>",
            ROWS,
            many(pyc.findings.len() as u64, "file")
        )?;
    }
    writeln!(page, "</section>")
}

/// How all of it is asked for.
fn sql(report: &Report, page: &mut String) -> std::fmt::Result {
    writeln!(
        page,
        "<section aria-labelledby=\"sql\">\n<h2 id=\"sql\">All of it, in SQL</h2>\n<p>The tables <code>bytefacts.determinism_audit_v1</code> and <code>bytefacts.determinism_summary_v1</code> hold what every audit has found, for <code>bytefacts sql --facts {}</code> and for the SQL service:</p>\n<pre>{};</pre>\n</section>",
        escaped(&report.plan.facts),
        escaped(&findings_sql(&report.plan.audit))
    )
}

fn findings(report: &Report, page: &mut String) -> std::fmt::Result {
    let all = report.findings.len();
    writeln!(page, "<section aria-labelledby=\"findings\">\n<h2 id=\"findings\">Findings</h2>")?;
    if all == 0 {
        return writeln!(page, "<p>None.</p>\n</section>");
    }
    writeln!(
        page,
        "<p><label for=\"filter\">Show those that contain </label><input id=\"filter\" type=\"search\" autocomplete=\"off\"> <span id=\"shown\" role=\"status\">{}</span></p>",
        if all > SHOWN {
            format!("{} of {}, the worst first", number(SHOWN as u64), number(all as u64))
        } else {
            many(all as u64, "finding")
        }
    )?;
    cut(all.min(SHOWN), all, "finding", page)?;
    let mut room = Room::default();
    for finding in report.findings.iter().take(SHOWN) {
        write_finding(finding, &mut room, page)?;
    }
    writeln!(page, "</section>")
}

fn write_finding(finding: &Finding, room: &mut Room, page: &mut String) -> std::fmt::Result {
    let verdict = &finding.verdict;
    let class = if verdict.kind == Kind::Bad { "bad" } else { "fail" };
    writeln!(
        page,
        "<details class=\"finding\" id=\"f-{0}\"><summary><span class=\"tag {class}\">{class}</span> <span class=\"code\">{1}</span> <span class=\"file\">{2}</span> <span class=\"under\">{3}{4}</span></summary>",
        finding.id,
        escaped(verdict.cause.as_deref().unwrap_or("")),
        escaped(&file_name(verdict)),
        escaped(&verdict.condition),
        if finding.allowed.is_some() { ", allowed" } else { "" }
    )?;
    if let Some(allowed) = &finding.allowed {
        writeln!(
            page,
            "<p>Allowed until {}: {} ({}, {})</p>",
            escaped(&allowed.until),
            escaped(&allowed.reason),
            escaped(&allowed.owner),
            escaped(&allowed.link)
        )?;
    }
    writeln!(page, "<p>{}</p>", escaped(&verdict.reason))?;
    if let Some(found) = &verdict.difference {
        let place = if found.unit.is_empty() { found.field.clone() } else { format!("{} of {}", found.field, found.unit) };
        writeln!(
            page,
            "<div class=\"sides\"><div><h3>first: {0}</h3><pre>{1}</pre></div><div><h3>under the condition</h3><pre>{2}</pre></div></div>",
            escaped(&place),
            escaped(&found.left),
            escaped(&found.right)
        )?;
    }
    sides::write(&verdict.sides, ["first", "under the condition"], room, page)?;
    writeln!(
        page,
        "<p class=\"repeat\">Repeat: <code>{}</code> · <a href=\"#f-{}\"><span class=\"aloud\">Address of this finding: </span>#{}</a></p></details>",
        escaped(&finding.repeat),
        finding.id,
        finding.id
    )
}

fn write_drift(index: usize, drift: &DriftReport, page: &mut String) -> std::fmt::Result {
    writeln!(
        page,
        "<section aria-labelledby=\"drift-{index}\">\n<h2 id=\"drift-{index}\">Drift to CPython {}</h2>",
        escaped(&drift.interpreter)
    )?;
    writeln!(
        page,
        "<p>{} of {} compile to other code, {:+} instructions{}. This is drift between interpreters, not instability.</p>",
        number(drift.differing),
        many(drift.compared, "file"),
        drift.instructions,
        if drift.failed > 0 { format!("; {} have code with one of them only", number(drift.failed)) } else { String::new() }
    )?;
    if drift.clusters.is_empty() {
        return writeln!(page, "</section>");
    }
    writeln!(
        page,
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Edits of {0}\"><table>\n<thead><tr><th scope=\"col\">edit</th><th scope=\"col\" class=\"n\">places</th><th scope=\"col\" class=\"n\">files</th><th scope=\"col\" class=\"n\">instructions</th><th scope=\"col\">in</th></tr></thead>\n<tbody>",
        escaped(&drift.interpreter)
    )?;
    for cluster in drift.clusters.iter().take(EDITS) {
        writeln!(
            page,
            "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{:+}</td><td>{}</td></tr>",
            escaped(&cluster.edit),
            number(cluster.places),
            number(cluster.files),
            cluster.instructions,
            escaped(&cluster.within())
        )?;
    }
    writeln!(page, "</tbody></table></div>")?;
    if drift.clusters.len() > EDITS {
        let more = (drift.clusters.len() - EDITS) as u64;
        writeln!(page, "<p class=\"note\">And {}, which the report as JSON has.</p>", many(more, "other edit"))?;
    }
    for cluster in drift.clusters.iter().take(EDITS) {
        let example = &cluster.example;
        writeln!(
            page,
            "<details><summary>{}: {}</summary>\n<div class=\"sides\"><div><h3>first</h3><pre>{}</pre></div><div><h3>{}</h3><pre>{}</pre></div></div></details>",
            escaped(&cluster.edit),
            escaped(&example.place()),
            escaped(&example.left.join("\n")),
            escaped(&drift.interpreter),
            escaped(&example.right.join("\n"))
        )?;
    }
    writeln!(page, "</section>")
}

fn coverage(report: &Report, page: &mut String) -> std::fmt::Result {
    writeln!(page, "<section aria-labelledby=\"coverage\">\n<h2 id=\"coverage\">Not covered</h2>")?;
    if report.unknown.is_empty() {
        return writeln!(page, "<p>Every file was covered under every condition.</p>\n</section>");
    }
    writeln!(
        page,
        "<table>\n<thead><tr><th scope=\"col\">why</th><th scope=\"col\" class=\"n\">files × conditions</th></tr></thead>\n<tbody>"
    )?;
    for (reason, count) in report.unknown.iter().take(ROWS) {
        writeln!(page, "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td></tr>", escaped(reason), number(*count))?;
    }
    writeln!(page, "</tbody></table>\n</section>")
}

fn many(n: u64, what: &str) -> String {
    format!("{} {what}{}", number(n), if n == 1 { "" } else { "s" })
}

/// With thin spaces between thousands.
fn number(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push('\u{2009}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::{nights, report};

    #[test]
    fn the_page_stands_alone_and_nothing_in_it_is_markup_that_was_not_meant() {
        let page = render(&report(10), &nights(3));
        for outside in ["http:", "https:", "src=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
        assert_eq!(page.matches("<details class=\"finding\"").count(), 10);
        assert_eq!(page.matches("<table class=\"dis\">").count(), 8, "instructions of what is bad");
        assert!(page.contains("a&lt;0&gt;&amp;\u{fffd}.py") && !page.contains("<it>"));
        let ids: Vec<&str> = page.match_indices(" id=\"").filter_map(|(at, _)| page[at + 5..].split('"').next()).collect();
        let unique: std::collections::BTreeSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), unique.len());
    }

    /// A closed element has no content on paper.
    #[test]
    fn what_is_closed_on_the_screen_is_printed() {
        let page = render(&report(10), &[]);
        let print = page.split("@media print {").nth(1).unwrap().split("</style>").next().unwrap();
        assert!(print.contains("details::details-content { content-visibility: visible; }"), "without scripts");
        assert!(page.contains("addEventListener(\"beforeprint\"") && page.contains("addEventListener(\"afterprint\""));
    }

    #[test]
    fn nights_are_a_row_each_this_one_first_and_a_first_night_has_no_trend() {
        let page = render(&report(10), &nights(3));
        let trend = page.split("id=\"trend\"").nth(1).unwrap().split("</section>").next().unwrap();
        assert_eq!(trend.matches("<tr><th scope=\"row\">").count(), 4);
        assert!(trend.contains("<th scope=\"row\">7</th>") || trend.contains(&format!("<th scope=\"row\">{}", report(10).plan.night)));
        assert!(trend.contains("1 (not complete)") && trend.contains("&lt;nightly&gt;") && trend.contains("class=\"bar bad\""));
        assert!(!render(&report(10), &[]).contains("id=\"trend\""));
    }

    #[test]
    fn tables_of_any_length_are_cut_with_a_word() {
        let mut report = report(10);
        report.unknown = (0..1_000).map(|n| (format!("reason {n}"), 1)).collect();
        let condition = report.conditions_counted[0].clone();
        report.conditions_counted = vec![condition; 5_000];
        let finding = crate::report::PycFinding { path: "a<b.pyc".to_owned(), status: Status::Orphan, reason: "<r>".to_owned() };
        report.pyc = Some(PycReport { counts: [(Status::Orphan, 300)].into(), findings: vec![finding; 300] });
        report.drift[0].clusters = vec![report.drift[0].clusters[0].clone(); EDITS + 5];
        let page = render(&report, &[]);
        assert!(page.contains("And 5 other edits, which the report as JSON has."));
        assert!(page.contains("200 of 5\u{2009}000 conditions are shown") && page.contains("200 of 300 files are shown"));
        assert!(page.contains("a&lt;b.pyc") && !page.contains("<r>"));
        assert!(page.len() < 1 << 20, "{}", page.len());
    }

    #[test]
    fn a_page_of_many_findings_says_how_many_it_leaves_out() {
        let page = render(&report(10_000), &nights(400));
        assert_eq!(page.matches("<details class=\"finding\"").count(), SHOWN);
        assert!(page.contains("The page has no room for its instructions"));
        assert!(page.contains("2\u{2009}000 of 10\u{2009}000 findings are shown: <a href=\"#sql\">") && page.contains("id=\"sql\""));
        assert!(page.contains("60 of 401 nights are shown"));
        assert!(page.len() < 4 << 20, "{}", page.len());
        if let Some(folder) = std::env::var_os("BYTEFACTS_PAGES") {
            for n in [0, 10, 10_000] {
                std::fs::write(std::path::Path::new(&folder).join(format!("audit-{n}.html")), render(&report(n), &nights(n))).unwrap();
            }
        }
    }
}
