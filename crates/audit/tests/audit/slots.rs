//! Locals of comprehensions that CPython inlines into the bodies of classes, which it numbers in the order of a set.

use bytefacts_audit::digests::{Derived, SourceFile};
use bytefacts_audit::matrix::{Condition, HashSeed};
use bytefacts_audit::night::{self, Bench, Kind, Verdict};
use bytefacts_audit::pyc::{self, Fresh, Status};
use bytefacts_bytecode::object::local_kind::HIDDEN;
use bytefacts_bytecode::opcode::op;
use bytefacts_bytecode::{Code, Const, canonical, marshal};
use bytefacts_compile::{Compiled, Outcome};

use crate::{bench, file, interpreter};

/// Functions in comprehensions use variables of outer scopes: of one comprehension, of several, in a cell, as a variable of another comprehension,
/// and where the value is dropped, so that what is restored is restored in turned order.
const SOURCE: &str = "def outer(aa, bb, cc, dd):
    class D:
        r = [(lambda: (aa, bb, cc)) for x in ()]
        s = {(lambda: (bb, dd, cc)): x for x in () if x}
        t = [aa for aa in () if aa]
    class E[T]:
        [lambda: (aa, bb, cc, T, x) for x in ()]
        r = [[lambda: (aa, dd, x, y) for y in x if y] for x in ()]
";

fn seeded(seed: u32) -> Condition {
    Condition { hash_seed: Some(HashSeed::Fixed(seed)), ..Condition::default() }
}

async fn derived(bench: &Bench, condition: &Condition, file: &SourceFile) -> Derived {
    night::derive(bench, "c", condition, std::slice::from_ref(file)).await.unwrap().files.remove(0)
}

/// The verdict on the source as derived first, and under a seed after `change` to the body of the class `D`.
async fn verdict(bench: &Bench, condition: &Condition, change: impl Fn(&mut Code)) -> Verdict {
    let file = file("a.py", SOURCE);
    let (first, second) = (derived(bench, &Condition::default(), &file).await, derived(bench, condition, &file).await);
    let mut compiled = second.compiled;
    let mut module = marshal::read_code(code_of(&compiled)).unwrap();
    change(inside(inside(&mut module, "outer"), "D"));
    compiled.outcome = Outcome::Code(canonical::encode(&module).into());
    night::judge("c", condition, &file, &first, &bench.deriver.derive(&file, compiled).unwrap())
}

fn code_of(compiled: &Compiled) -> &[u8] {
    match &compiled.outcome {
        Outcome::Code(bytes) => bytes,
        Outcome::Failed(_) => &[],
    }
}

fn inside<'a>(code: &'a mut Code, name: &str) -> &'a mut Code {
    let mut codes = code.consts.iter_mut().filter_map(|constant| if let Const::Code(code) = constant { Some(&mut **code) } else { None });
    codes.find(|code| code.name.to_text() == name).unwrap()
}

/// The first two instructions of an opcode that follow each other.
fn neighbours(code: &Code, opcode: u8) -> usize {
    (0..code.code.len() - 2).step_by(2).find(|at| code.code[*at] == opcode && code.code[*at + 2] == opcode).unwrap()
}

#[tokio::test]
async fn locals_of_inlined_comprehensions_follow_the_hash_seed_and_are_no_other_fact() {
    let bench = bench(interpreter().await);
    let mut differing = 0;
    for seed in 1..9 {
        let file = file("a.py", SOURCE);
        let (first, second) = (derived(&bench, &Condition::default(), &file).await, derived(&bench, &seeded(seed), &file).await);
        let verdict = night::judge("c", &seeded(seed), &file, &first, &second);
        assert_eq!(verdict.kind, Kind::Good, "{seed}: {verdict:?}");
        if first.digests.facts != second.digests.facts {
            differing += 1;
            assert_eq!(verdict.cause.as_deref(), Some("C47"), "{seed}: {verdict:?}");
            assert!(verdict.reason.contains("in the order of a set: ") && verdict.difference.is_some(), "{verdict:?}");
            // Under the seed of the first derivation it would be something else.
            let same_seed = night::judge("c", &Condition::default(), &file, &first, &second);
            assert_eq!((same_seed.kind, same_seed.cause.as_deref()), (Kind::Bad, Some("X00")), "{same_seed:?}");
        }
    }
    assert!(differing > 3, "{differing} of 8 seeds have another order");
}

#[tokio::test]
async fn whatever_else_differs_in_such_a_class_stays_bad() {
    let bench = bench(interpreter().await);
    for seed in [1, 2, 3] {
        let unchanged = verdict(&bench, &seeded(seed), |_| {}).await;
        assert_eq!(unchanged.kind, Kind::Good, "{unchanged:?}");
        // Two variables get each other's values back.
        let crossed = verdict(&bench, &seeded(seed), |class| {
            let at = neighbours(class, op::STORE_FAST);
            class.code.swap(at + 1, at + 3);
        })
        .await;
        // The comprehension's own variable and another one have each other's names.
        let renamed = verdict(&bench, &seeded(seed), |class| class.localsplusnames.swap(1, 2)).await;
        let shown = verdict(&bench, &seeded(seed), |class| class.localspluskinds[2] &= !HIDDEN).await;
        let longer = verdict(&bench, &seeded(seed), |class| class.stacksize += 1).await;
        for verdict in [crossed, renamed, shown, longer] {
            assert_eq!((verdict.kind, verdict.cause.as_deref()), (Kind::Bad, Some("X00")), "{seed}: {verdict:?}");
        }
    }
}

/// Interpreters have a random hash seed, so that the `.pyc` files of such classes are others each time that they are made.
#[tokio::test]
async fn a_pyc_that_was_made_under_another_hash_seed_holds_the_code_of_its_source() {
    let bench = bench(interpreter().await);
    let file = file("a.py", SOURCE);
    let fresh = derived(&bench, &Condition::default(), &file).await.compiled;
    let judged = |code: &[u8]| {
        let header = [&b"\xf3\x0d\r\n"[..], &[0; 8], &u32::try_from(SOURCE.len()).unwrap().to_le_bytes()].concat();
        pyc::judge(&[&header[..], code].concat(), Some(&Fresh { source: SOURCE.as_bytes(), mtime: None, compiled: &fresh }))
    };
    for seed in [1, 2, 3] {
        let second = derived(&bench, &seeded(seed), &file).await.compiled;
        let code = code_of(&second);
        let found = judged(code);
        assert!(found.status == Status::Metadata && found.reason.contains("hash seed (C47)"), "{seed}: {found:?}");
        let mut module = marshal::read_code(code).unwrap();
        inside(inside(&mut module, "outer"), "D").localsplusnames.swap(1, 2);
        assert_eq!(judged(&canonical::encode(&module)).status, Status::Differs);
    }
}
