//! The canonical form against CPython, which writes it itself as version 2.

use bytefacts_bytecode::{canonical, marshal};

use crate::{code, interpreter, library, pool};

#[tokio::test]
async fn the_canonical_form_of_any_version_is_what_cpython_writes_as_version_2() {
    let interpreter = interpreter().await;
    let (second, fourth) = (pool(&interpreter, 0, 2).await, pool(&interpreter, 0, 4).await);
    let mut sources: Vec<_> = library(&interpreter).into_iter().map(|(_, source)| source).step_by(2).collect();
    sources
        .push("x = {1, 'a', 'ü', b'c', (1, 2.5), None, ..., 1j, -0.0, 10**40, True} | y\nz = q in {'q', 'r', 's', 2, frozenset}\n".into());
    sources.push("big = (2**31, -2**31, -2**31 - 1, 2**63, -2**63, 2**64, -2**200, 10**4000, 0, '\\udc80', 'a' * 300)\n".into());
    let mut compared = 0;
    for source in sources {
        let (Some(two), Some(four)) = (code(&second, source.clone()).await, code(&fourth, source).await) else { continue };
        assert!(canonical::encode(&marshal::read_code(&four).unwrap()) == two);
        assert!(canonical::encode(&marshal::read_code(&two).unwrap()) == two);
        compared += 1;
    }
    assert!(compared > 130, "{compared}");
}
