use std::ffi::OsStr;
use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;

use super::*;
use crate::corpus::Corpus;
use crate::selection::tests::{default, excluding};

fn tree(files: &[&str]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for file in files {
        write(root.path(), file, file);
    }
    root
}

fn write(root: &Path, file: &str, text: &str) {
    let path = root.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn listed(root: &Path, form: &Form) -> Vec<(Option<String>, String, u64)> {
    entries(&list(root, form, &default()).unwrap()).into_iter().map(|e| (e.repo, e.path, e.size)).collect()
}

fn entries(inventory: &Inventory) -> Vec<Entry> {
    inventory.entries().unwrap().map(Result::unwrap).collect()
}

fn entry(repo: Option<&str>, path: &str) -> Entry {
    Entry { repo: repo.map(str::to_owned), path: path.to_owned(), size: 0 }
}

fn read_entry(root: &Path, entry: &Entry) -> Result<Bytes, ReadError> {
    read(root, &path_of(entry, &Form::Tree)?, 1_000)
}

#[test]
fn first_level_folders_are_repositories() {
    let root = tree(&["setup.py", "b/x.py", "a/pkg/x.pyw", "a/pkg/y.py", "a.txt"]);
    assert_eq!(
        listed(root.path(), &Form::Tree),
        [
            (None, "setup.py".into(), 8),
            (Some("a".into()), "pkg/x.pyw".into(), 11),
            (Some("a".into()), "pkg/y.py".into(), 10),
            (Some("b".into()), "x.py".into(), 6),
        ]
    );
}

#[test]
fn a_whole_tree_can_be_one_repository() {
    let root = tree(&["setup.py", "a/x.py"]);
    let form = Form::Repository("mine".into());
    assert_eq!(listed(root.path(), &form), [(Some("mine".into()), "a/x.py".into(), 6), (Some("mine".into()), "setup.py".into(), 8),]);
    let path = path_of(&entry(Some("mine"), "a/x.py"), &form).unwrap();
    assert_eq!(read(root.path(), &path, 100).unwrap(), "a/x.py");
}

#[test]
fn every_listed_file_can_be_read() {
    let names = ["x y.py", "quote'\".py", "new\nline.py", "ä.py", "back\\udc41.py", ".py", "a.py/b.py"];
    let root = tree(&names);
    let odd = root.path().join(OsStr::from_bytes(b"r\xff/\xe9.py"));
    fs::create_dir(odd.parent().unwrap()).unwrap();
    fs::write(&odd, b"odd").unwrap();
    let entries = entries(&list(root.path(), &Form::Tree, &default()).unwrap());
    assert_eq!(entries.len(), names.len() + 1);
    let last = entries.last().unwrap();
    assert_eq!((last.repo.as_deref(), last.path.as_str()), (Some("r\\udcff"), "\\udce9.py"));
    for e in entries {
        assert_eq!(read_entry(root.path(), &e).unwrap().len() as u64, e.size, "{e:?}");
    }
}

#[test]
fn what_is_left_out_is_counted() {
    let root = tree(&["a/x.py", "a/.git/hooks/x.py", "a/.venv/y.py", "a/data.json", ".git/z.py", "README"]);
    symlink(root.path().join("a"), root.path().join("linked")).unwrap();
    symlink("..", root.path().join("a/loop.py")).unwrap();
    let inventory = list(root.path(), &Form::Tree, &default()).unwrap();
    let (entries, notes) = (entries(&inventory), inventory.notes);
    let paths: Vec<_> = entries.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["x.py"]);
    assert_eq!(notes.excluded_folders.examples, [".git", "a/.git", "a/.venv"]);
    assert_eq!(notes.linked_folders.examples, ["a/loop.py", "linked"]);
    assert_eq!((notes.linked_folders.count, notes.other_files), (2, 2));
}

#[test]
fn links_to_files_are_read_inside_the_corpus_only() {
    let outside = tree(&["secret.py"]);
    let root = tree(&["a/x.py"]);
    let link = |target: &Path, name: &str| symlink(target, root.path().join("a").join(name)).unwrap();
    link(Path::new("x.py"), "inside.py");
    link(&outside.path().join("secret.py"), "outside.py");
    link(Path::new("nowhere"), "broken.py");
    link(Path::new("self.py"), "self.py");

    let sizes: Vec<_> = (listed(root.path(), &Form::Tree).into_iter()).map(|(_, path, _)| path).collect();
    assert_eq!(sizes, ["broken.py", "inside.py", "outside.py", "self.py", "x.py"]);
    let read = |name| read_entry(root.path(), &entry(Some("a"), name));
    assert_eq!(read("inside.py").unwrap(), "a/x.py");
    for (name, fault) in [("outside.py", SymlinkFault::Outside), ("broken.py", SymlinkFault::Broken), ("self.py", SymlinkFault::Broken)] {
        match read(name) {
            Err(ReadError::Symlink(found)) => assert_eq!(found, fault, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
    }
}

#[test]
fn a_folder_that_turned_into_a_link_does_not_lead_out() {
    let outside = tree(&["x.py"]);
    let root = tree(&["a/sub/x.py"]);
    let listed = entries(&list(root.path(), &Form::Tree, &default()).unwrap());
    fs::remove_dir_all(root.path().join("a/sub")).unwrap();
    symlink(outside.path(), root.path().join("a/sub")).unwrap();
    let error = read_entry(root.path(), &listed[0]).unwrap_err();
    assert_eq!(error.error_type(), "SymlinkOutsideCorpus");
}

#[test]
fn special_files_are_entries_that_cannot_be_read() {
    let root = tree(&["a/x.py"]);
    let _socket = UnixListener::bind(root.path().join("a/socket.py")).unwrap();
    let pipe = root.path().join("a/pipe.py");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    assert_eq!(listed(root.path(), &Form::Tree).len(), 3);
    for (name, text) in [("socket.py", "a socket"), ("pipe.py", "a named pipe")] {
        let error = read_entry(root.path(), &entry(Some("a"), name)).unwrap_err();
        assert_eq!(error.to_string(), format!("not a regular file: {text}"));
    }
}

#[test]
fn a_file_that_vanished_is_missing() {
    let root = tree(&["a/x.py"]);
    for gone in ["y.py", "no/x.py", "x.py/y.py"] {
        let error = read_entry(root.path(), &entry(Some("a"), gone)).unwrap_err();
        assert_eq!(error.error_type(), "FileNotFound", "{gone}");
    }
}

#[test]
fn a_corpus_that_is_gone_is_a_fault_and_no_row() {
    let root = tree(&["a/x.py"]);
    let file = entry(Some("a"), "x.py");
    let nothing_left = root.path().join("unmounted");
    assert!(read_entry(&nothing_left, &file).unwrap_err().is_fault(), "the root is missing");
    fs::create_dir(&nothing_left).unwrap();
    assert!(read_entry(&nothing_left, &file).unwrap_err().is_fault(), "the root is empty");
    assert!(read_entry(&root.path().join("a/x.py"), &file).unwrap_err().is_fault(), "the root is a file");
}

#[test]
fn a_repository_of_which_nothing_is_left_is_a_fault_and_no_row() {
    let root = tree(&["a/x.py", "b/x.py"]);
    fs::remove_file(root.path().join("b/x.py")).unwrap();
    let error = read_entry(root.path(), &entry(Some("b"), "sub/x.py")).unwrap_err();
    assert!(error.is_fault(), "its own disk is not mounted: {error}");
    assert!(format!("{error:?}").contains("the folder b of the corpus is empty"), "{error:?}");
    fs::remove_dir(root.path().join("b")).unwrap();
    assert_eq!(read_entry(root.path(), &entry(Some("b"), "sub/x.py")).unwrap_err().error_type(), "FileNotFound", "it was deleted");
}

#[test]
fn a_file_over_the_limit_is_refused() {
    let root = tree(&[]);
    write(root.path(), "a/x.py", &"x".repeat(1_001));
    write(root.path(), "a/y.py", &"x".repeat(1_000));
    let error = read_entry(root.path(), &entry(Some("a"), "x.py")).unwrap_err();
    assert_eq!(error.error_type(), "FileTooLarge");
    assert_eq!(read_entry(root.path(), &entry(Some("a"), "y.py")).unwrap().len(), 1_000);
}

#[tokio::test]
async fn a_file_is_as_large_as_what_would_be_read_of_it() {
    let root = tree(&["a/x.py", "a/folder.py/z.py"]);
    write(root.path(), "a/large.py", &"x".repeat(1_001));
    symlink("x.py", root.path().join("a/inside.py")).unwrap();
    symlink("/etc/hostname", root.path().join("a/outside.py")).unwrap();
    let corpus = Corpus::local(root.path(), Form::Tree, default()).with_limit(1_000);
    for name in ["x.py", "inside.py", "large.py", "outside.py", "folder.py", "gone.py"] {
        let entry = entry(Some("a"), name);
        let read = corpus.read(&entry).await.map_or(0, |bytes| bytes.len() as u64);
        assert_eq!(corpus.size(&entry).await, read, "{name}");
    }
}

/// Whether the tests run as a user whom no permission stops.
fn is_privileged() -> bool {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o000)).unwrap();
    fs::read_dir(folder.path()).is_ok()
}

#[test]
fn what_may_not_be_read_is_an_entry_all_the_same() {
    if is_privileged() {
        return;
    }
    let root = tree(&["a/x.py", "a/locked/y.py", "b/z.py"]);
    let locked = ["a/x.py", "a/locked", "b"].map(|p| root.path().join(p));
    for path in &locked {
        fs::set_permissions(path, Permissions::from_mode(0o000)).unwrap();
    }
    let inventory = list(root.path(), &Form::Tree, &default()).unwrap();
    let (entries, notes) = (entries(&inventory), inventory.notes);
    let found: Vec<_> = (entries.iter()).map(|e| (e.repo.as_deref(), e.path.as_str())).collect();
    assert_eq!(found, [(Some("a"), "locked/"), (Some("a"), "x.py"), (Some("b"), "./")]);
    assert_eq!(notes.unreadable_folders.examples, ["a/locked/", "b/"]);
    let errors = entries.iter().map(|e| read_entry(root.path(), e).unwrap_err());
    let types: Vec<_> = errors.map(|e| e.error_type()).collect();
    assert_eq!(types, ["UnreadableFolder", "PermissionDenied", "UnreadableFolder"]);
    for path in &locked {
        fs::set_permissions(path, Permissions::from_mode(0o700)).unwrap();
    }
    // Readable by now, but the run does not know its files.
    let error = read_entry(root.path(), &entries[0]).unwrap_err();
    assert_eq!(error.error_type(), "UnreadableFolder");
}

#[test]
fn a_failing_disk_below_the_corpus_is_no_unreadable_folder() {
    let folder = Path::new("/corpus/a");
    // EIO, EMFILE, ENODEV, ESTALE, ETIMEDOUT.
    for code in [5, 24, 19, 116, 110] {
        let Err(ListError::Io { location, source }) = own_fault(folder, io::Error::from_raw_os_error(code)) else { panic!("{code}") };
        assert_eq!((location.as_str(), source.raw_os_error()), ("/corpus/a", Some(code)));
    }
    // EACCES, ENOENT, ENOTDIR, ENAMETOOLONG.
    for code in [13, 2, 20, 36] {
        assert!(own_fault(folder, io::Error::from_raw_os_error(code)).is_ok(), "{code}");
    }
}

/// A process without a free descriptor can list nothing: that is no fact of the folder that it has come to.
#[test]
fn a_listing_that_runs_out_of_descriptors_fails_as_a_whole() {
    let root = tree(&["a/b/c/d/x.py", "a/y.py"]);
    let program = std::env::current_exe().unwrap();
    let run = |limit: &str| {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", &format!("ulimit -n {limit}; exec \"$0\" --exact {LISTS_A_FOLDER} --ignored --nocapture --test-threads 1")]);
        let output = command.arg(&program).env("BYTEFACTS_LISTED", root.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run("256").contains("listed 2 of 0 unreadable"), "{}", run("256"));
    let mut failed = 0;
    for limit in 4..14 {
        let said = run(&limit.to_string());
        assert!(!said.contains("listed") || said.contains("listed 2 of 0 unreadable"), "{limit}: {said}");
        failed += usize::from(said.contains("failed: "));
    }
    assert!(failed > 0, "no limit was met while folders were listed");
}

const LISTS_A_FOLDER: &str = "local::tests::lists_a_folder";

#[test]
#[ignore = "what another test runs with few descriptors"]
fn lists_a_folder() {
    let Some(root) = std::env::var_os("BYTEFACTS_LISTED") else { return };
    match list(Path::new(&root), &Form::Tree, &default()) {
        Ok(inventory) => println!("listed {} of {} unreadable", entries(&inventory).len(), inventory.notes.unreadable_folders.count),
        Err(error) => println!("failed: {error}"),
    }
}

#[test]
fn an_entry_cannot_lead_out_of_the_corpus() {
    let root = tree(&["a/x.py"]);
    for (repo, path) in [
        (Some(".."), "x.py"),
        (Some("a/.."), "x.py"),
        (Some("a"), "../x.py"),
        (Some("a"), "/etc/hostname"),
        (None, "a//x.py"),
        (None, "./x.py"),
        (Some("a"), "x\0.py"),
        (Some(""), "x.py"),
    ] {
        let error = read_entry(root.path(), &entry(repo, path)).unwrap_err();
        assert_eq!(error.error_type(), "BadPath", "{repo:?} {path:?}");
    }
}

#[test]
fn errors_name_no_path_of_the_machine() {
    let root = tree(&["a/x.py"]);
    symlink("/nowhere/at/all", root.path().join("a/broken.py")).unwrap();
    let machine_path = root.path().to_str().unwrap();
    for name in ["gone.py", "broken.py", "../x.py", "sub/"] {
        let error = read_entry(root.path(), &entry(Some("a"), name)).unwrap_err();
        let text = error.to_string();
        assert!(!text.contains(machine_path) && !text.contains("/nowhere"), "{text}");
    }
}

#[test]
fn what_is_no_corpus_says_why() {
    let root = tree(&["file.py", "texts/a.txt", "texts/b.txt"]);
    fs::create_dir(root.path().join("empty")).unwrap();
    for (folder, says) in [
        ("none", "does not exist"),
        ("file.py", "is not a folder"),
        ("empty", "is empty"),
        ("texts", "holds no Python file that is taken; it holds 2 other files"),
    ] {
        let error = list(&root.path().join(folder), &Form::Tree, &default()).unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[test]
fn folders_are_left_out_by_their_name_and_counted() {
    let root = tree(&["a/x.py", "a/site-packages/y.py", "site-packages/z/w.py", "a/site-packages.py"]);
    let inventory = list(root.path(), &Form::Tree, &excluding(["site-packages"])).unwrap();
    let entries = entries(&inventory);
    let paths: Vec<_> = entries.iter().map(|e| e.path.as_str()).collect();
    assert_eq!(paths, ["site-packages.py", "x.py"]);
    assert_eq!(inventory.notes.excluded_folders.examples, ["a/site-packages", "site-packages"]);
}

#[test]
fn environments_are_left_out_by_what_makes_them_so() {
    let root = tree(&["a/env/pyvenv.cfg", "a/env/lib/x.py", "a/venv/__init__.py", "a/x.py", "pyvenv.cfg"]);
    let inventory = list(root.path(), &Form::Tree, &default()).unwrap();
    let paths: Vec<_> = entries(&inventory).into_iter().map(|e| e.path).collect();
    assert_eq!(paths, ["venv/__init__.py", "x.py"]);
    assert_eq!(inventory.notes.environments.examples, ["a/env"]);
    assert_eq!(list(root.path(), &Form::Tree, &default().environments(true)).unwrap().files(), 3);
}

#[test]
fn gitignore_files_count_when_they_are_told_to() {
    let root = tree(&["a/x.py", "a/build/x.py", "a/pkg/x.py", "a/pkg/keep.py", "b/build/x.py", "b/x.py"]);
    write(root.path(), "a/.gitignore", "build/\nx.py\n");
    write(root.path(), "a/pkg/.gitignore", "!x.py\n");
    assert_eq!(listed(root.path(), &Form::Tree).len(), 6);
    let inventory = list(root.path(), &Form::Tree, &default().gitignore(true)).unwrap();
    let found: Vec<_> = entries(&inventory).into_iter().map(|e| format!("{}/{}", e.repo.unwrap(), e.path)).collect();
    assert_eq!(found, ["a/pkg/keep.py", "a/pkg/x.py", "b/build/x.py", "b/x.py"]);
    assert_eq!(inventory.notes.ignored.examples, ["a/build", "a/x.py"]);
}

/// The number of files that a process may have open is limited.
#[test]
fn folders_as_deep_as_paths_go_are_listed() {
    let deep = "d/".repeat(1_500) + "x.py";
    let root = tree(&[&deep, "d/y.py", "d/d/z.py"]);
    let paths: Vec<_> = listed(root.path(), &Form::Tree).into_iter().map(|(_, path, _)| path).collect();
    assert_eq!(paths, [&deep[2..], "d/z.py", "y.py"]);
}
