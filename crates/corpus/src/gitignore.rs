//! What a `.gitignore` file says, as gitignore(5) has it.
//!
//! **Why not the crate `ignore`?** It and what it stands on change the features of crates below DataFusion, which makes everything be built anew for
//! the rules of one file.

use glob::Pattern;

use crate::selection::MATCHING;

/// The rules of one file, in its order.
#[derive(Debug)]
pub(crate) struct Gitignore {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    /// Matched with the path below the file's folder.
    glob: Pattern,
    /// Whether it takes back what rules before it said.
    takes_back: bool,
    folders_only: bool,
}

impl Gitignore {
    /// The rules of a file. A line that is no pattern matches nothing, as in git.
    pub(crate) fn parse(text: &str) -> Self {
        Self { rules: text.split('\n').filter_map(Rule::parse).collect() }
    }

    /// Whether the file or folder at `path` below the file's folder is ignored; `None` if the file does not say. The last rule that matches decides.
    pub(crate) fn ignores(&self, path: &str, is_dir: bool) -> Option<bool> {
        let speaks = |rule: &&Rule| (is_dir || !rule.folders_only) && rule.glob.matches_with(path, MATCHING);
        self.rules.iter().rev().find(speaks).map(|rule| !rule.takes_back)
    }
}

impl Rule {
    fn parse(line: &str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let line = without_trailing_spaces(line.strip_suffix('\r').unwrap_or(line));
        let (takes_back, line) = line.strip_prefix('!').map_or((false, line), |rest| (true, rest));
        let (folders_only, line) = line.strip_suffix('/').map_or((false, line), |rest| (true, rest));
        if line.is_empty() {
            return None;
        }
        // A slash in front or within binds the pattern to the file's folder.
        let mut glob = if line.contains('/') { String::new() } else { "**/".to_owned() };
        for segment in line.strip_prefix('/').unwrap_or(line).split_inclusive('/') {
            push_segment(segment, &mut glob);
        }
        Some(Self { glob: Pattern::new(&glob).ok()?, takes_back, folders_only })
    }
}

/// Spaces at the end do not count, unless the last one is written `\ `.
fn without_trailing_spaces(mut line: &str) -> &str {
    while let Some(rest) = line.strip_suffix(' ') {
        if rest.bytes().rev().take_while(|&byte| byte == b'\\').count() % 2 == 1 {
            break;
        }
        line = rest;
    }
    line
}

/// Writes a segment of a gitignore pattern as the glob crate reads it: what git escapes by a backslash is put into brackets, `[^…]` is `[!…]`, and
/// asterisks that are not all of a segment are one.
fn push_segment(segment: &str, glob: &mut String) {
    if segment.strip_suffix('/').unwrap_or(segment) == "**" {
        return glob.push_str(segment);
    }
    let mut characters = segment.chars();
    let mut last = '/';
    while let Some(character) = characters.next() {
        match (character, last) {
            ('\\', _) => glob.extend(characters.next().map(|escaped| Pattern::escape(escaped.encode_utf8(&mut [0; 4])))),
            ('^', '[') => glob.push('!'),
            ('*', '*') => {}
            _ => glob.push(character),
        }
        last = character;
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
        "*.py",
        "!keep.py",
        "/top.py",
        "build/",
        "/docs",
        "a/b",
        "a/**",
        "**/deep",
        "a/**/z.py",
        "# comment",
        "\\#hash",
        "\\!bang",
        "trail  ",
        "space\\ ",
        "x[0-9].py",
        "x[!0-9].py",
        "{a,b}.py",
        "**.py",
        "a**b.py",
        "*",
        "!*/",
        "?",
        "",
        "/",
        "foo\\*",
        "b/*.txt",
    ];
    const PATHS: [&str; 32] = [
        "a.py",
        "keep.py",
        "a/keep.py",
        "top.py",
        "a/top.py",
        "build/",
        "build",
        "a/build/",
        "docs/",
        "a/docs/",
        "a/b",
        "a/b/",
        "c/a/b",
        "a/",
        "deep/",
        "a/deep",
        "a/c/deep",
        "a/z.py",
        "a/b/c/z.py",
        "#hash",
        "!bang",
        "trail",
        "space ",
        "x1.py",
        "xy.py",
        "{a,b}.py",
        "axxb.py",
        "a/xb.py",
        "q",
        "foo*",
        "foox",
        "b/c.txt",
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
        path.match_indices('/').any(|(end, _)| rules.ignores(&path[..end], true) == Some(true))
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
                let rules = Gitignore::parse(&text);
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
                    assert_eq!(rules.ignores(bare, is_dir), expected, "{text:?} {path:?}");
                }
            }
        }
    }

    #[test]
    fn the_last_rule_that_matches_decides() {
        let rules = Gitignore::parse("*.py\r\n!keep.py\nbuild/\n");
        assert_eq!(rules.ignores("a/x.py", false), Some(true));
        assert_eq!(rules.ignores("a/keep.py", false), Some(false));
        assert_eq!(rules.ignores("build", true), Some(true));
        assert_eq!(rules.ignores("build", false), None);
    }
}
