//! Repositories of any name, as folders of the facts.

use std::collections::BTreeSet;

use bytefacts_landing::{FactsStore, decode_repo, encode_repo};
use proptest::prelude::*;

use crate::sample::{batch, memory, run_id, stats, writer};

const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

const NAMES: [&str; 16] = [
    "plain",
    "with space",
    "a=b",
    "100%",
    "%41",
    "..",
    ".",
    "quote'\"",
    "größe ☃",
    "new\nline",
    "back\\slash",
    "\\udce9",
    "#1",
    "?x&y",
    "~",
    NULL,
];

#[test]
fn names_are_encoded_and_come_back() {
    assert_eq!(encode_repo(None), NULL);
    assert_eq!(encode_repo(Some("a=b c")), "a%3Db%20c");
    assert_eq!(encode_repo(Some(NULL)), "%5F_HIVE_DEFAULT_PARTITION__");
    assert_eq!(decode_repo(NULL), Some(None));
    for name in NAMES {
        let encoded = encode_repo(Some(name));
        assert_eq!(decode_repo(&encoded), Some(Some(name.to_owned())), "{encoded}");
    }
    // Not what the encoder writes.
    for text in ["a=b", "%41", "%zz", "%FF"] {
        assert_eq!(decode_repo(text), None, "{text}");
    }
}

#[test]
fn a_name_too_long_for_a_file_name_is_shortened() {
    let names = ["é".repeat(100), "é".repeat(101), "é".repeat(127), "x".repeat(255)];
    let encoded: BTreeSet<_> = names.iter().map(|n| encode_repo(Some(n))).collect();
    assert_eq!(encoded.len(), names.len());
    for value in encoded {
        assert!("repo=".len() + value.len() <= 255, "{value}");
        assert_eq!(decode_repo(&value), None);
    }
}

proptest! {
    #[test]
    fn encodings_are_safe_and_injective(a in ".{0,80}", b in ".{0,80}") {
        let (ea, eb) = (encode_repo(Some(&a)), encode_repo(Some(&b)));
        prop_assert_eq!(a == b, ea == eb);
        prop_assert!(ea.len() <= 250);
        prop_assert!(ea.bytes().all(|c| c.is_ascii_alphanumeric() || b"-_.%~".contains(&c)));
        if !ea.contains('~') {
            prop_assert_eq!(decode_repo(&ea), Some(Some(a)));
        }
    }
}

#[tokio::test]
async fn repositories_of_any_name_are_landed_and_found() {
    let folder = tempfile::tempdir().unwrap();
    for facts in [memory(), FactsStore::local(folder.path()).unwrap()] {
        let rows: Vec<_> = NAMES.map(|name| (Some(name), "x.py")).to_vec();
        let mut writer = writer(&facts, &run_id("r"), 0);
        writer.write(&batch(&[(None, "x.py")])).await.unwrap();
        writer.write(&batch(&rows)).await.unwrap();
        let rows_in_all = bytefacts_landing::BinStats { files: 17, ..stats(&rows) };
        let record = writer.finish(rows_in_all, Vec::new()).await.unwrap();
        let repos: BTreeSet<_> = record.files.iter().map(|f| f.repo.as_deref()).collect();
        assert_eq!(repos.len(), 17);
        for file in &record.files {
            let path = facts.path_of(&file.key).unwrap();
            let meta = object_store::ObjectStoreExt::head(facts.store(), &path).await;
            assert_eq!(meta.unwrap().size, file.bytes);
            let folder = file.key.split('/').nth(1).unwrap();
            let value = folder.strip_prefix("repo=").unwrap();
            assert_eq!(decode_repo(value), Some(file.repo.clone()));
        }
        // The listing gives the same keys: nothing was escaped a second time.
        let mut listed = crate::sample::keys(&facts, "bytecode_files_v1").await;
        let mut keys: Vec<_> = record.files.iter().map(|f| f.key.clone()).collect();
        listed.sort();
        keys.sort();
        assert_eq!(listed, keys);
    }
}
