//! Colours, where the terminal has them.

use anstyle::{AnsiColor, Style};

/// Constants, names of things.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// Where jumps lead; warnings.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// Source text.
pub const CYAN: Style = AnsiColor::Cyan.on_default();
/// Errors.
pub const RED: Style = AnsiColor::Red.on_default().bold();
/// Headings.
pub const BOLD: Style = Style::new().bold();
/// What is there for completeness.
pub const DIM: Style = Style::new().dimmed();

/// Puts styles around text, or leaves it plain.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    /// Whether the output takes colours.
    pub colour: bool,
}

impl Paint {
    /// `text` in `style`. Text that is empty or blank stays as it is.
    pub fn paint(self, style: Style, text: &str) -> String {
        if self.colour && !text.trim().is_empty() { format!("{}{text}{}", style.render(), style.render_reset()) } else { text.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_there_only_if_wanted() {
        assert_eq!(Paint { colour: false }.paint(RED, "x"), "x");
        assert_eq!(Paint { colour: true }.paint(DIM, "x"), "\u{1b}[2mx\u{1b}[0m");
        assert_eq!(Paint { colour: true }.paint(DIM, "  "), "  ");
    }
}
