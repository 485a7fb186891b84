//! `gc`.

use std::time::Duration;

use clap::Args as ClapArgs;

use super::Format;

/// Let runs go that are not to be kept; delete what no run names.
///
/// Without a rule of what to keep, every committed run is kept, and only what lost attempts and dead runs have left is deleted.
///
/// With rules, a run stays that any of them keeps; the current run always does. The others are shown, and with --yes let go: they are listed
/// no more, and what only they name is deleted by the first `gc` after the grace period, when whoever reads them is done. Runs share the
/// files of what has not changed, so that letting one go deletes what no other names.
#[derive(Debug, ClapArgs)]
pub struct Gc {
    /// The facts: a path or a URI.
    #[arg(long, value_name = "FACTS", env = "BYTEFACTS_FACTS")]
    pub facts: String,
    /// Keep so many of the newest runs.
    #[arg(long, value_name = "N", help_heading = "Which runs to keep")]
    pub keep: Option<u32>,
    /// Keep the newest run of each of so many days that have any (UTC).
    #[arg(long, value_name = "N", help_heading = "Which runs to keep")]
    pub keep_daily: Option<u32>,
    /// Keep the newest run of each of so many weeks (they begin on Monday).
    #[arg(long, value_name = "N", help_heading = "Which runs to keep")]
    pub keep_weekly: Option<u32>,
    /// Keep the newest run of each of so many months.
    #[arg(long, value_name = "N", help_heading = "Which runs to keep")]
    pub keep_monthly: Option<u32>,
    /// Keep every run that is not older than this, such as 90d, 12w or 48h.
    #[arg(long, value_name = "AGE", value_parser = age, help_heading = "Which runs to keep")]
    pub older_than: Option<Duration>,
    /// Let go what the rules do not keep. Without it that is only shown.
    #[arg(long)]
    pub yes: bool,
    /// Only tell what would be done.
    #[arg(long, conflicts_with = "yes")]
    pub dry_run: bool,
    /// Hours for which a run may rest before it counts as dead, and what was let go stays readable.
    #[arg(long, value_name = "HOURS", default_value_t = 24.0, value_parser = hours)]
    pub grace_hours: f64,
    /// How the report is written.
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

fn age(text: &str) -> Result<Duration, String> {
    let wrong = || "an age is a whole number and one of h, d, w, such as 90d".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let hours = match unit {
        'h' => 1,
        'd' => 24,
        'w' => 7 * 24,
        _ => return Err(wrong()),
    };
    let number: u64 = text.strip_suffix(unit).and_then(|number| number.parse().ok()).ok_or_else(wrong)?;
    number.checked_mul(hours * 3600).map(Duration::from_secs).ok_or_else(wrong)
}

fn hours(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(hours) if (0.0..=1e6).contains(&hours) => Ok(hours),
        _ => Err("a number of hours, at least 0".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_a_unit() {
        assert_eq!(age("90d").unwrap(), Duration::from_hours(90 * 24));
        assert_eq!(age("2w").unwrap(), Duration::from_hours(14 * 24));
        assert_eq!(age("48h").unwrap(), Duration::from_hours(48));
        for bad in ["", "d", "90", "-1d", "1.5d", "1y", "é", "99999999999999999999d", "9999999999999999999w"] {
            assert!(age(bad).is_err(), "{bad}");
        }
    }
}
