//! The report as Markdown, for chat and tickets: short, the verdict first.

use std::fmt::Write as _;

use super::{Report, file_name, findings_sql};

/// Findings that are shown; all are in the tables.
const SHOWN: usize = 20;
/// Edits of a second interpreter that are shown.
const EDITS: usize = 10;

/// Writes the report.
#[must_use]
pub fn render(report: &Report) -> String {
    let mut text = String::new();
    // Writing to a String does not fail.
    let _ = write(report, &mut text);
    text
}

fn write(report: &Report, text: &mut String) -> std::fmt::Result {
    let (plan, verdicts) = (&report.plan, &report.verdicts);
    let version = plan.interpreter.get("version").and_then(serde_json::Value::as_str).unwrap_or("?");
    let verdict = match (verdicts.bad, verdicts.fail) {
        (0, 0) if report.covered == 0 => "**Nothing was derived again.**".to_owned(),
        (0, 0) => "**Deterministic.**".to_owned(),
        (0, fail) => format!("**{fail} second derivations failed.**"),
        (bad, _) => format!("**{bad} verdicts are bad.**"),
    };
    writeln!(text, "# Determinism of run {}, night {}\n", cell(&plan.run), plan.night)?;
    writeln!(
        text,
        "{verdict} {} good, {} bad, {} fail, {} unknown over {} files and {} conditions; {} of tonight's {} files were covered (preset {}, all files in {} nights). CPython {version}.\n",
        verdicts.good,
        verdicts.bad,
        verdicts.fail,
        verdicts.unknown,
        report.files,
        plan.conditions.len(),
        report.covered,
        report.sampled,
        cell(&plan.preset),
        plan.nights
    )?;
    if report.allowed > 0 {
        writeln!(text, "{} findings are let pass by the allow-list.\n", report.allowed)?;
    }
    writeln!(text, "| condition | good | bad | fail | unknown | streams |\n|---|---:|---:|---:|---:|---:|")?;
    for condition in &report.conditions_counted {
        let c = &condition.counts;
        writeln!(
            text,
            "| {}: {} | {} | {} | {} | {} | {} |",
            cell(&condition.name),
            cell(&condition.about),
            c.good,
            c.bad,
            c.fail,
            c.unknown,
            condition.streams
        )?;
    }
    writeln!(text, "\nStreams: good, and the marshal streams differ, which is informational.")?;
    if !report.causes.is_empty() {
        writeln!(text, "\n| cause | what | verdict | count |\n|---|---|---|---:|")?;
        for cause in &report.causes {
            writeln!(text, "| {} | {} | {} | {} |", cause.code, cell(&cause.title), cause.kind.as_str(), cause.count)?;
        }
    }
    if !report.findings.is_empty() {
        writeln!(text, "\n## Findings\n")?;
        for finding in report.findings.iter().take(SHOWN) {
            let verdict = &finding.verdict;
            writeln!(
                text,
                "- `{}` {}{} under {} ({}): {}",
                finding.id,
                if finding.allowed.is_some() { "(allowed) " } else { "" },
                cell(&file_name(verdict)),
                cell(&verdict.condition),
                verdict.cause.as_deref().unwrap_or("no cause"),
                cell(&verdict.reason)
            )?;
            writeln!(text, "  repeat: `{}`", finding.repeat.replace(|c: char| c == '`' || c.is_control(), "?"))?;
        }
        if report.findings.len() > SHOWN {
            writeln!(text, "- and {} more: `{}`", report.findings.len() - SHOWN, findings_sql(&plan.audit))?;
        }
    }
    if !report.stale.is_empty() {
        writeln!(text, "\n## Allowed no longer\n")?;
        for stale in report.stale.iter().take(SHOWN) {
            let entry = &stale.entry;
            writeln!(
                text,
                "- {} ({}) until {}: {}, {}, {}; {} findings tonight",
                cell(&entry.files),
                cell(&entry.cause),
                cell(&entry.until),
                cell(&entry.reason),
                cell(&entry.owner),
                cell(&entry.link),
                stale.matches
            )?;
        }
    }
    if !report.unmatched.is_empty() {
        writeln!(text, "\n## Allowed, and not found tonight\n")?;
        for entry in report.unmatched.iter().take(SHOWN) {
            let condition = entry.condition.as_ref().map(|condition| format!(" under {}", cell(condition))).unwrap_or_default();
            writeln!(text, "- {} ({}{condition}): {}, {}", cell(&entry.files), cell(&entry.cause), cell(&entry.owner), cell(&entry.link))?;
        }
        if report.unmatched.len() > SHOWN {
            writeln!(text, "- and {} more", report.unmatched.len() - SHOWN)?;
        }
    }
    if let Some(pyc) = &report.pyc {
        let counts: Vec<String> = pyc.counts.iter().map(|(status, n)| format!("{n} {}", status.as_str())).collect();
        writeln!(text, "\n## Shipped bytecode\n\n{}\n", counts.join(", "))?;
        for file in pyc.findings.iter().take(SHOWN) {
            writeln!(text, "- {} {}: {}", cell(&file.path), file.status.as_str(), cell(&file.reason))?;
        }
        if pyc.findings.len() > SHOWN {
            writeln!(text, "- and {} more", pyc.findings.len() - SHOWN)?;
        }
    }
    for drift in &report.drift {
        writeln!(text, "\n## CPython {}\n", cell(&drift.interpreter))?;
        writeln!(
            text,
            "{} of {} files compile to other code, {:+} instructions; drift, not instability.\n",
            drift.differing, drift.compared, drift.instructions
        )?;
        for cluster in drift.clusters.iter().take(EDITS) {
            writeln!(
                text,
                "- {} places in {} files, {:+} instructions: {}; {}",
                cluster.places,
                cluster.files,
                cluster.instructions,
                cell(&cluster.sentence()),
                cell(&cluster.example.place())
            )?;
        }
        if drift.clusters.len() > EDITS {
            writeln!(text, "- and {} other edits", drift.clusters.len() - EDITS)?;
        }
    }
    if !report.unknown.is_empty() {
        writeln!(text, "\n## Not covered\n")?;
        for (reason, count) in report.unknown.iter().take(SHOWN) {
            writeln!(text, "- {count}: {}", cell(reason))?;
        }
    }
    Ok(())
}

/// Text that stays what it is in a table and starts no markup.
fn cell(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '|' | '&' | '<' | '>' | '*' | '_' | '`' | '[' | ']' | '#' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            character if character.is_control() => out.push(' '),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::report;

    #[test]
    fn the_verdict_stands_first_and_names_start_no_markup() {
        assert!(render(&report(0)).lines().nth(2).unwrap().starts_with("**Deterministic.** 8 good"));
        let bad = render(&report(40));
        assert!(bad.contains("**32 verdicts are bad.**") && bad.contains("- and 20 more: `SELECT"), "{bad}");
        assert!(bad.contains("a\\<0\\>\\&") && !bad.contains('\u{1}'));
        assert!(bad.contains(
            "627 places in 116 files, +627 instructions: GET\\_ITER inserted before FOR\\_ITER (in genexpr 600, function 27); r/x.py:2 "
        ));
    }
}
