//! What a `.gitignore` file says, as gitignore(5) has it.
//!
//! **Why not the crate `ignore`?** It and what it stands on change the features of crates below DataFusion, and walk by themselves. What is wanted
//! here is one file's rules.

use fast_glob::glob_match;

/// The rules of one file, in its order.
#[derive(Debug)]
pub(crate) struct Gitignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// Matched with the path below the file's folder.
    glob: Vec<u8>,
    /// Whether it takes back what rules before it said.
    takes_back: bool,
    folders_only: bool,
}

impl Gitignore {
    /// The rules of a file. A line that is no pattern matches nothing, as in git.
    pub(crate) fn parse(text: &[u8]) -> Self {
        Self { rules: text.split(|&byte| byte == b'\n').filter_map(Rule::parse).collect() }
    }

    /// Whether the file or folder at `path` below the file's folder is ignored; `None` if the file does not say. The last rule that matches decides.
    pub(crate) fn ignores(&self, path: &[u8], is_dir: bool) -> Option<bool> {
        let speaks = |rule: &&Rule| (is_dir || !rule.folders_only) && glob_match(&rule.glob, path);
        self.rules.iter().rev().find(speaks).map(|rule| !rule.takes_back)
    }
}

impl Rule {
    fn parse(line: &[u8]) -> Option<Self> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.starts_with(b"#") {
            return None;
        }
        let line = without_trailing_spaces(line);
        let (takes_back, line) = line.strip_prefix(b"!").map_or((false, line), |rest| (true, rest));
        let (folders_only, line) = line.strip_suffix(b"/").map_or((false, line), |rest| (true, rest));
        if line.is_empty() {
            return None;
        }
        // A slash in front or within binds the pattern to the file's folder.
        let anchored = line.contains(&b'/');
        let line = line.strip_prefix(b"/").unwrap_or(line);
        let mut glob = if anchored { Vec::new() } else { b"**/".to_vec() };
        for segment in line.split_inclusive(|&byte| byte == b'/') {
            push_segment(segment, &mut glob);
        }
        // What is inside a folder is ignored with it, but `a/**` does not match `a` itself.
        Some(Self { glob, takes_back, folders_only })
    }
}

/// Spaces at the end do not count, unless the last one is written `\ `.
fn without_trailing_spaces(mut line: &[u8]) -> &[u8] {
    while let Some(rest) = line.strip_suffix(b" ") {
        if rest.iter().rev().take_while(|&&byte| byte == b'\\').count() % 2 == 1 {
            break;
        }
        line = rest;
    }
    line
}

/// Writes a segment of a gitignore pattern as the glob crate reads it: to git, braces and an exclamation mark are themselves, and so are two
/// asterisks that are not all of a segment.
fn push_segment(segment: &[u8], glob: &mut Vec<u8>) {
    let name = segment.strip_suffix(b"/").unwrap_or(segment);
    let mut last = 0;
    for &byte in segment {
        let escaped = last == b'\\';
        if matches!(byte, b'{' | b'}') && !escaped || byte == b'!' && glob.is_empty() {
            glob.push(b'\\');
        }
        if !(byte == b'*' && last == b'*' && name != b"**") {
            glob.push(byte);
        }
        last = if escaped { 0 } else { byte };
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::process::{Command, Stdio};

    use super::*;

    /// Rules that use all that gitignore(5) names, and paths to try them on: folders end in a slash.
    const RULES: [&str; 26] = [
        "*.py", "!keep.py", "/top.py", "build/", "/docs", "a/b", "a/**", "**/deep", "a/**/z.py", "# comment", "\\#hash", "\\!bang", "trail  ",
        "space\\ ", "x[0-9].py", "x[!0-9].py", "{a,b}.py", "**.py", "a**b.py", "*", "!*/", "?", "", "/", "foo\\*", "b/*.txt",
    ];
    const PATHS: [&str; 32] = [
        "a.py", "keep.py", "a/keep.py", "top.py", "a/top.py", "build/", "build", "a/build/", "docs/", "a/docs/", "a/b", "a/b/", "c/a/b", "a/", "deep/",
        "a/deep", "a/c/deep", "a/z.py", "a/b/c/z.py", "#hash", "!bang", "trail", "space ", "x1.py", "xy.py", "{a,b}.py", "axxb.py", "a/xb.py", "q",
        "foo*", "foox", "b/c.txt",
    ];

    /// What git says of `path` where the rules are all there is.
    fn asked_of_git(folder: &std::path::Path, rules: &str, path: &str) -> Option<bool> {
        fs::write(folder.join(".gitignore"), rules).unwrap();
        let mut git = Command::new("git")
            .args(["check-ignore", "--no-index", "--verbose", "--non-matching", "-z", "--stdin"])
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        git.stdin.take().unwrap().write_all(format!("{path}\0").as_bytes()).unwrap();
        let answer = git.wait_with_output().unwrap().stdout;
        let pattern = answer.split(|&byte| byte == 0).nth(2).unwrap();
        (!pattern.is_empty()).then(|| !pattern.starts_with(b"!"))
    }

    /// Whether a folder above `path` is ignored; git then speaks of that one.
    fn inside_ignored(rules: &Gitignore, path: &str) -> bool {
        let path = path.strip_suffix('/').unwrap_or(path);
        path.match_indices('/').any(|(end, _)| rules.ignores(path[..end].as_bytes(), true) == Some(true))
    }

    #[test]
    fn rules_mean_what_they_mean_to_git() {
        let folder = tempfile::tempdir().unwrap();
        let init = Command::new("git").args(["init", "--quiet"]).current_dir(folder.path()).status();
        if !init.is_ok_and(|status| status.success()) {
            println!("not judged: there is no git here");
            return;
        }
        for (index, rule) in RULES.iter().enumerate() {
            for other in ["", RULES[(index * 7 + 1) % RULES.len()]] {
                let text = format!("{other}\n{rule}\n");
                let rules = Gitignore::parse(text.as_bytes());
                for path in PATHS.iter().filter(|path| !inside_ignored(&rules, path)) {
                    let (bare, is_dir) = path.strip_suffix('/').map_or((*path, false), |bare| (bare, true));
                    if is_dir {
                        fs::create_dir_all(folder.path().join(bare)).unwrap();
                    }
                    let expected = asked_of_git(folder.path(), &text, bare);
                    if is_dir {
                        let outermost = bare.split('/').next().unwrap();
                        fs::remove_dir_all(folder.path().join(outermost)).unwrap();
                    }
                    assert_eq!(rules.ignores(bare.as_bytes(), is_dir), expected, "{text:?} {path:?}");
                }
            }
        }
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let rules = Gitignore::parse(b"*.py\r\n!keep.py\nbuild/\n");
        assert_eq!(rules.ignores(b"a/x.py", false), Some(true));
        assert_eq!(rules.ignores(b"a/keep.py", false), Some(false));
        assert_eq!(rules.ignores(b"build", true), Some(true));
        assert_eq!(rules.ignores(b"build", false), None);
    }
}
