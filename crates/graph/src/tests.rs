//! Pictures of small graphs, whole.

use insta::assert_snapshot;
use proptest::prelude::*;

use super::*;

fn instruction(index: u32, opname: &str, argument: &str, inputs: &str) -> Row {
    Row::Instruction(Instruction {
        index,
        offset: index as i32 * 2,
        depth: "0→1".to_owned(),
        opname: opname.to_owned(),
        argument: argument.to_owned(),
        inputs: inputs.to_owned(),
        is_prefix: opname == "EXTENDED_ARG",
    })
}

fn node(id: u32, role: Role, rows: Vec<Row>) -> Node {
    Node { id, name: format!("B{id}"), notes: vec![format!("stack {id}")], role, rows }
}

fn edge(from: u32, to: u32, kind: EdgeKind, polarity: Option<bool>) -> Edge {
    let is_back = to <= from;
    Edge { from, kind, to, polarity, is_back, label: format!("{kind:?}").to_lowercase(), detail: format!("\"{from}\" <to> {to}") }
}

/// One of everything: a loop with a handler, an exit, a block that nothing leads to, hostile text, data flow.
fn parts() -> (Heading, Vec<Node>, Vec<Edge>, Vec<Use>) {
    let heading = Heading {
        title: "f(<b>)".to_owned(),
        subtitles: vec!["function at a&b.py:1".to_owned()],
        faults: vec!["stack reaches depth 3".to_owned()],
    };
    let source = |line, text: &str| Row::Source { line, text: text.to_owned() };
    let long = "x".repeat(100);
    let entry = vec![source(Some(1), "def f(b):"), instruction(0, "RESUME", "0", ""), instruction(1, "LOAD_FAST", "b", "b: argument")];
    let test = vec![
        source(Some(12), "\tif b < \"</text>\":"),
        instruction(2, "COMPARE_OP", "<", "1, 1"),
        instruction(3, "POP_JUMP_IF_FALSE", "to L1", "2"),
    ];
    let body = vec![
        source(Some(3), &long),
        instruction(4, "EXTENDED_ARG", "1", ""),
        instruction(5, "LOAD_CONST", "'漢字\u{1b}'", ""),
        instruction(6, "STORE_FAST", "c", "5"),
    ];
    let handler = vec![source(None, "(no line)"), instruction(7, "PUSH_EXC_INFO", "", "exception"), instruction(8, "RERAISE", "1", "7")];
    let nodes = vec![
        node(0, Role { entry: true, ..Role::default() }, entry),
        node(1, Role::default(), test),
        node(2, Role::default(), body),
        node(3, Role { handler: true, exit: true, ..Role::default() }, handler),
        node(4, Role { exit: true, ..Role::default() }, vec![instruction(9, "RETURN_CONST", "None", "")]),
        node(5, Role { unreachable: true, ..Role::default() }, Vec::new()),
    ];
    let edges = vec![
        edge(0, 1, EdgeKind::Next, None),
        edge(1, 2, EdgeKind::Next, Some(true)),
        edge(1, 4, EdgeKind::Branch, Some(false)),
        edge(1, 3, EdgeKind::Exc, None),
        edge(2, 1, EdgeKind::Jump, None),
        edge(2, 3, EdgeKind::Exc, None),
        edge(5, 4, EdgeKind::Jump, None),
    ];
    let used = |from, to, variable: Option<&str>| Use { from, to, variable: variable.map(str::to_owned) };
    let uses = vec![used(1, 2, None), used(2, 3, None), used(5, 6, None), used(7, 8, None), used(6, 2, Some("c"))];
    (heading, nodes, edges, uses)
}

fn graph() -> Graph {
    let (heading, nodes, edges, uses) = parts();
    Graph::new(heading, nodes, edges, uses).unwrap()
}

#[test]
fn a_graph_as_svg() {
    // The style sheet says nothing about this graph.
    let picture = svg(&graph());
    let (before, rest) = picture.split_once("<style>").unwrap();
    let (_, after) = rest.split_once("</style>").unwrap();
    assert_snapshot!(format!("{before}{after}"));
}

#[test]
fn a_graph_as_dot() {
    assert_snapshot!(dot(&graph()));
}

#[test]
fn a_graph_without_anything_is_a_heading() {
    let empty = Graph::new(Heading { title: "nothing".to_owned(), ..Heading::default() }, Vec::new(), Vec::new(), Vec::new()).unwrap();
    assert!(svg(&empty).contains(">nothing</text>") && dot(&empty).starts_with("digraph \"nothing\" {"));
}

#[test]
fn no_colour_is_the_only_sign_of_anything() {
    let picture = svg(&graph());
    for word in
        ["entry", "handler · exit", "unreachable", ">next<", ">branch<", ">jump<", ">exc<", "test false: jumps", "back edge (thick)"]
    {
        assert!(picture.contains(word), "{word}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_the_description_does_not_show(
        nodes in Just(parts().1).prop_shuffle(), edges in Just(parts().2).prop_shuffle(), uses in Just(parts().3).prop_shuffle(),
    ) {
        let shuffled = Graph::new(parts().0, nodes, edges, uses).unwrap();
        prop_assert_eq!(svg(&shuffled), svg(&graph()));
        prop_assert_eq!(dot(&shuffled), dot(&graph()));
    }

    /// What comes out is one well-formed element after another, whatever text goes in.
    #[test]
    fn any_text_stays_text(text in any::<String>(), control in "[\\x00-\\x1f<>&\"'\\\\]{0,20}") {
        let text = format!("{text}{control}");
        let row = Row::Source { line: Some(1), text: text.clone() };
        let node = Node { id: 0, name: text.clone(), notes: vec![text.clone()], role: Role::default(), rows: vec![row, instruction(0, &text, &text, &text)] };
        let edge = Edge { label: text.clone(), detail: text.clone(), ..edge(0, 0, EdgeKind::Jump, None) };
        let uses = vec![Use { from: 0, to: 0, variable: Some(text.clone()) }];
        let heading = Heading { title: text.clone(), subtitles: vec![text.clone()], faults: vec![text] };
        let graph = Graph::new(heading, vec![node], vec![edge], uses).unwrap();
        let picture = svg(&graph);
        let forbidden = |c: char| (c.is_control() && c != '\n') || matches!(c, '\u{fffe}' | '\u{ffff}');
        prop_assert!(!picture.contains(forbidden));
        let mut open = Vec::new();
        for tag in picture.split('<').skip(1) {
            let tag = tag.split('>').next().unwrap();
            match tag.strip_prefix('/') {
                Some(name) => prop_assert_eq!(open.pop(), Some(name)),
                None if !tag.ends_with('/') => open.push(tag.split([' ', '\n']).next().unwrap()),
                None => {}
            }
        }
        prop_assert!(open.is_empty());
        // Outside of what is quoted, DOT has a line a statement.
        let lines_begin_well = dot(&graph).lines().skip(1).all(|line| line == "}" || line.starts_with("  "));
        prop_assert!(lines_begin_well);
    }
}
