//! What `FILE.py[:QUALNAME]` means.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use bytefacts_bytecode::Unit;

use crate::commands::dis::unit::is_named;
use crate::exit::UsageError;
use crate::table::width;

/// How many names an error about an unknown one suggests.
const SUGGESTIONS: usize = 8;

/// A file and the unit in it that is meant.
#[derive(Debug, PartialEq, Eq)]
pub struct Target {
    /// The file; `-` is stdin.
    pub file: PathBuf,
    /// The unit's qualified name or qualpath; `None` for the module.
    name: Option<String>,
    /// Which of the units of that name, from 1.
    nth: Option<usize>,
}

impl Target {
    /// Cuts at the last colon, unless there is a file of that very name.
    pub fn new(argument: &Path) -> Self {
        let bytes = argument.as_os_str().as_bytes();
        let colon = bytes.iter().rposition(|&byte| byte == b':').filter(|_| !argument.exists());
        let Some((file, name)) = colon.and_then(|colon| bytes.split_at_checked(colon)) else {
            return Self { file: argument.to_owned(), name: None, nth: None };
        };
        let name = String::from_utf8_lossy(name.get(1..).unwrap_or_default()).into_owned();
        let (name, nth) = match name.rsplit_once('#').and_then(|(name, nth)| Some((name, nth.parse().ok()?))) {
            Some((name, nth)) => (name.to_owned(), Some(nth)),
            None => (name, None),
        };
        Self { file: OsStr::from_bytes(file).into(), name: Some(name).filter(|name| !name.is_empty()), nth }
    }

    /// The unit that is meant.
    ///
    /// # Errors
    /// When no unit has the name, or more than one has.
    pub fn unit<'a, 'c>(&self, units: &'a [Unit<'c>]) -> Result<&'a Unit<'c>, UsageError> {
        let name = self.name.as_deref().unwrap_or("<module>");
        let named: Vec<_> = units.iter().filter(|unit| is_named(unit, name)).collect();
        match (named.as_slice(), self.nth) {
            ([], _) => Err(UsageError(format!("no unit is called {name}; the nearest names are {}", nearest(units, name)))),
            ([unit], None) => Ok(unit),
            (several, None) => {
                let places = several.iter().zip(1..).map(|(unit, nth)| format!("{name}#{nth} at line {}", unit.code.firstlineno));
                let places = places.collect::<Vec<_>>().join(", ");
                Err(UsageError(format!("{} units are called {name}: choose one of {places}", several.len())))
            }
            (several, Some(nth)) => nth
                .checked_sub(1)
                .and_then(|nth| several.get(nth))
                .copied()
                .ok_or_else(|| UsageError(format!("there is no {name}#{nth}: {} of that name, counted from 1", several.len()))),
        }
    }
}

/// The qualified names that are most like the one that is unknown.
fn nearest(units: &[Unit<'_>], name: &str) -> String {
    let likeness = |known: &str| {
        let last = known.rsplit('.').next().unwrap_or(known);
        strsim::normalized_damerau_levenshtein(known, name).max(strsim::normalized_damerau_levenshtein(last, name))
    };
    let mut known: Vec<_> = units.iter().map(|unit| unit.code.qualname.to_text().into_owned()).collect();
    known.sort_unstable();
    known.dedup();
    known.sort_by(|a, b| likeness(b).total_cmp(&likeness(a)));
    known.truncate(SUGGESTIONS);
    known.iter().map(|name| width::printable(name).into_owned()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use bytefacts_bytecode::{marshal, units};

    use super::*;

    fn target(file: &str, name: Option<&str>, nth: Option<usize>) -> Target {
        Target { file: file.into(), name: name.map(str::to_owned), nth }
    }

    #[test]
    fn the_name_stands_behind_the_last_colon() {
        let parse = |argument: &str| Target::new(Path::new(argument));
        assert_eq!(parse("a.py"), target("a.py", None, None));
        assert_eq!(parse("a.py:C.m"), target("a.py", Some("C.m"), None));
        assert_eq!(parse("a:b.py:f#2"), target("a:b.py", Some("f"), Some(2)));
        assert_eq!(parse("-:f"), target("-", Some("f"), None));
        assert_eq!(parse("a.py:"), target("a.py", None, None));
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("odd:name.py");
        std::fs::write(&path, "").unwrap();
        assert_eq!(Target::new(&path), Target { file: path, name: None, nth: None });
    }

    #[test]
    fn a_unit_is_found_or_the_nearest_are_named() {
        let module = marshal::read_code(include_bytes!("../dis/tests/sample.marshal")).unwrap();
        let units = units(&module);
        let find = |name: &str, nth| {
            let found = target("f", Some(name), nth).unit(&units);
            found.map(|unit| unit.qualpath.clone()).map_err(|error| error.to_string())
        };
        assert_eq!(find("Stack.drain", None), Ok("<module>.Stack@6.drain@10".to_owned()));
        assert_eq!(find("Stack.drain", Some(1)), find("<module>.Stack@6.drain@10", None));
        assert!(find("drian", None).unwrap_err().starts_with("no unit is called drian; the nearest names are Stack.drain, "));
        assert!(find("main", Some(2)).unwrap_err().contains("no main#2"));
        assert_eq!(target("f", None, None).unit(&units).unwrap().qualpath, "<module>");
        let twice = [units.clone(), units.clone()].concat();
        let error = target("f", Some("main"), None).unit(&twice).unwrap_err().to_string();
        assert!(error.contains("choose one of main#1 at line 20, main#2 at line 20"), "{error}");
    }
}
