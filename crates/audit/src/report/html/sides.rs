//! Instructions of two sides in a table: a line of each side a row, and between them what became of it, by a sign, a word and a colour.

use std::fmt::{Result, Write as _};

use crate::edits::{Line, Mark, UnitLines};
use crate::report::escaped;

/// Rows of listings that stand in a page: some hundred findings, more than anybody looks at, and what a screen reader or a checker walks is walked soon.
const ROWS: usize = 2_000;

/// What room a page has left.
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Self {
        Self(ROWS)
    }
}

/// Writes a table for each code object, as long as there is room.
pub(super) fn write(units: &[UnitLines], heads: [&str; 2], room: &mut Room, page: &mut String) -> Result {
    let rows = units.iter().map(|unit| unit.lines.len()).sum::<usize>();
    if rows > room.0 {
        return writeln!(page, "<p class=\"note\">The page has no room for its instructions: the command below shows them.</p>");
    }
    room.0 -= rows;
    for unit in units {
        writeln!(
            page,
            "<table class=\"dis\"><caption>{}</caption>\n<thead><tr><th scope=\"col\">{}</th><th scope=\"col\" class=\"m\"><span class=\"aloud\">change</span></th><th scope=\"col\">{}</th></tr></thead>\n<tbody>",
            escaped(&unit.unit),
            escaped(heads[0]),
            escaped(heads[1])
        )?;
        for line in &unit.lines {
            write_line(line, page)?;
        }
        writeln!(page, "</tbody></table>")?;
    }
    Ok(())
}

fn write_line(line: &Line, page: &mut String) -> Result {
    let (left, right) = (line.left.as_deref().unwrap_or_default(), line.right.as_deref().unwrap_or_default());
    let (class, sign, word) = match line.mark {
        Mark::Same => return writeln!(page, "<tr><td>{}</td><td></td><td>{}</td></tr>", escaped(left), escaped(right)),
        Mark::Skipped => return writeln!(page, "<tr class=\"s\"><td colspan=\"3\">⋯ {} more</td></tr>", escaped(left)),
        Mark::Changed => ("c", "~", "changed"),
        Mark::Removed => ("r", "−", "removed"),
        Mark::Added => ("a", "+", "added"),
    };
    writeln!(
        page,
        "<tr class=\"{class}\"><td>{}</td><td><span aria-hidden=\"true\">{sign}</span><span class=\"aloud\">{word}</span></td><td>{}</td></tr>",
        escaped(left),
        escaped(right)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(marks: &[Mark]) -> UnitLines {
        let line = |mark: &Mark| {
            let of = |there: bool, text: &str| there.then(|| text.to_owned());
            Line {
                mark: *mark,
                left: of(*mark != Mark::Added, "1 <a>"),
                right: of(!matches!(mark, Mark::Removed | Mark::Skipped), "2 <b>"),
            }
        };
        UnitLines { unit: "<module>.f@1".to_owned(), differs: true, lines: marks.iter().map(line).collect() }
    }

    fn written(units: &[UnitLines], room: &mut Room) -> String {
        let mut page = String::new();
        write(units, ["first", "second"], room, &mut page).unwrap();
        page
    }

    #[test]
    fn a_change_is_told_by_a_sign_a_word_and_a_colour() {
        let page = written(&[unit(&[Mark::Same, Mark::Changed, Mark::Removed, Mark::Added, Mark::Skipped])], &mut Room::default());
        for (class, sign, word) in [("c", "~", "changed"), ("r", "−", "removed"), ("a", "+", "added")] {
            assert!(page.contains(&format!("<tr class=\"{class}\">")), "{page}");
            assert!(page.contains(&format!("aria-hidden=\"true\">{sign}</span><span class=\"aloud\">{word}<")), "{page}");
        }
        assert!(page.contains("<caption>&lt;module&gt;.f@1</caption>") && page.contains("1 &lt;a&gt;") && !page.contains("<b>"));
        assert!(page.contains("colspan=\"3\">⋯ 1 &lt;a&gt; more"));
    }

    #[test]
    fn where_there_is_no_room_it_is_said() {
        let mut room = Room(3);
        assert!(written(&[unit(&[Mark::Same, Mark::Added])], &mut room).contains("<table"));
        let page = written(&[unit(&[Mark::Same, Mark::Added])], &mut room);
        assert!(!page.contains("<table") && page.contains("the command below"));
        assert!(written(&[], &mut Room(0)).is_empty());
    }
}
