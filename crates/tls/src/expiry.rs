//! When certificates end, for whoever watches over them. Nothing that TLS needs says so, and a date is no reason for a parser of all of X.509: the few
//! fields before it are stepped over.

use std::path::Path;

use crate::server::chain;

/// When the first of the certificates of a PEM file ends, in seconds since 1970.
///
/// # Errors
/// In words, when the file cannot be read, or a certificate has no such date.
pub fn not_after(file: &Path) -> Result<i64, String> {
    let ends = chain(file)?.iter().map(|certificate| of_der(certificate)).collect::<Option<Vec<_>>>();
    ends.and_then(|ends| ends.into_iter().min()).ok_or_else(|| format!("{}: a certificate in it has no date", file.display()))
}

const SEQUENCE: u8 = 0x30;
const UTC_TIME: u8 = 0x17;
const GENERALIZED_TIME: u8 = 0x18;
/// The version, which certificates of version 1 leave out.
const VERSION: u8 = 0xa0;

/// Certificate ⊃ to be signed ⊃ [version], serial, algorithm, issuer, validity ⊃ not before, not after.
fn of_der(certificate: &[u8]) -> Option<i64> {
    let (certificate, _) = inside(certificate, SEQUENCE)?;
    let (signed, _) = inside(certificate, SEQUENCE)?;
    let (tag, _, after_first) = element(signed)?;
    let (_, _, after_serial) = if tag == VERSION { element(after_first)? } else { element(signed)? };
    let (_, _, after_algorithm) = element(after_serial)?;
    let (_, _, after_issuer) = element(after_algorithm)?;
    let (validity, _) = inside(after_issuer, SEQUENCE)?;
    let (_, _, after_not_before) = element(validity)?;
    let (tag, date, _) = element(after_not_before)?;
    time(tag, date)
}

fn inside(bytes: &[u8], expected: u8) -> Option<(&[u8], &[u8])> {
    let (tag, content, rest) = element(bytes)?;
    (tag == expected).then_some((content, rest))
}

/// The first element: its tag, its content, and what follows.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, bytes) = bytes.split_first()?;
    let (&first, bytes) = bytes.split_first()?;
    let (length, bytes) = match first {
        0..=0x7f => (usize::from(first), bytes),
        // So many bytes of length follow; none is a form that certificates do not have.
        0x81..=0x84 => {
            let (length, bytes) = bytes.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), bytes)
        }
        _ => return None,
    };
    let (content, rest) = bytes.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// `YYMMDDHHMMSSZ`, of this century where YY is below 50, or `YYYYMMDDHHMMSSZ`.
fn time(tag: u8, date: &[u8]) -> Option<i64> {
    let digits = date.strip_suffix(b"Z")?;
    let number = |from: usize, to: usize| {
        let digits = digits.get(from..to)?;
        digits.iter().try_fold(0_i64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
    };
    let (year, rest) = match tag {
        UTC_TIME => (number(0, 2).map(|year| if year < 50 { 2000 + year } else { 1900 + year })?, 2),
        GENERALIZED_TIME => (number(0, 4)?, 4),
        _ => return None,
    };
    let part = |index: usize| number(rest + 2 * index, rest + 2 * index + 2);
    let (month, day, hour, minute, second) = (part(0)?, part(1)?, part(2)?, part(3)?, part(4)?);
    let sound =
        digits.len() == rest + 10 && (1..=12).contains(&month) && (1..=31).contains(&day) && hour < 24 && minute < 60 && second < 61;
    sound.then(|| days(year, month, day) * 86_400 + hour * 3_600 + minute * 60 + second)
}

/// Days from 1970-01-01 on, in the calendar that certificates have. Years begin in March, so that the day that some have more is their last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        for (tag, date, expected) in [
            (UTC_TIME, "700101000000Z", Some(0)),
            (UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (UTC_TIME, "240229120000Z", Some(1_709_208_000)),
            (GENERALIZED_TIME, "20500101000000Z", Some(2_524_608_000)),
            (GENERALIZED_TIME, "99991231235959Z", Some(253_402_300_799)),
            (UTC_TIME, "20500101000000Z", None),
            (UTC_TIME, "240229120000", None),
            (UTC_TIME, "241329120000Z", None),
            (UTC_TIME, "24x229120000Z", None),
            (SEQUENCE, "240229120000Z", None),
        ] {
            assert_eq!(time(tag, date.as_bytes()), expected, "{date}");
        }
    }

    #[test]
    fn the_end_is_the_one_that_openssl_reads() {
        let folder = tempfile::tempdir().unwrap();
        // Beyond 2049 dates have another form.
        for (name, days) in [("short", "1"), ("long", "20000")] {
            let file = folder.path().join(name);
            let made = Command::new("openssl")
                .args([
                    "req",
                    "-x509",
                    "-newkey",
                    "ec",
                    "-pkeyopt",
                    "ec_paramgen_curve:P-256",
                    "-nodes",
                    "-keyout",
                    "/dev/null",
                    "-days",
                    days,
                ])
                .args(["-subj", "/CN=x", "-out"])
                .arg(&file)
                .output()
                .unwrap();
            assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
            let said = Command::new("sh")
                .arg("-c")
                .arg("date -u -d \"$(openssl x509 -noout -enddate -in \"$0\" | cut -d= -f2)\" +%s")
                .arg(&file)
                .output()
                .unwrap();
            let said: i64 = String::from_utf8(said.stdout).unwrap().trim().parse().unwrap();
            assert_eq!(not_after(&file), Ok(said), "{name}");
        }
        // Of several the first to end counts.
        let both = folder.path().join("both");
        let texts = ["long", "short"].map(|name| std::fs::read_to_string(folder.path().join(name)).unwrap());
        std::fs::write(&both, texts.concat()).unwrap();
        assert_eq!(not_after(&both), not_after(&folder.path().join("short")));
    }

    #[test]
    fn what_is_cut_off_has_no_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("none");
        std::fs::write(&file, "-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n").unwrap();
        assert!(not_after(&file).unwrap_err().contains("no date"));
        assert!(not_after(&folder.path().join("missing")).is_err());
        let certificate = [SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff, 0];
        for length in 0..certificate.len() {
            assert_eq!(of_der(&certificate[..length]), None);
        }
    }
}
