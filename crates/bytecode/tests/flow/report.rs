//! Compares the judge's lines about a unit with its flow, and counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use bytefacts_bytecode::Instruction;
use bytefacts_bytecode::flow::{DataEdge, DataKind, EdgeKind, Flow, Namespace, Producer};

/// What was compared.
#[derive(Debug, Default)]
pub struct Tally {
    pub units: usize,
    pub instructions: usize,
    /// Units whose every way the judge went.
    pub every_way: usize,
    pub stack_edges: usize,
    pub variables: usize,
    pub variable_edges: usize,
    pub differences: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.units += other.units;
        self.instructions += other.instructions;
        self.every_way += other.every_way;
        self.stack_edges += other.stack_edges;
        self.variables += other.variables;
        self.variable_edges += other.variable_edges;
        self.differences.extend_from_slice(&other.differences);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} units, {} instructions; every way of {} units: {} stack edges; {} variables: {} edges; {} differences",
            self.units,
            self.instructions,
            self.every_way,
            self.stack_edges,
            self.variables,
            self.variable_edges,
            self.differences.len()
        )
    }
}

/// Compares what the judge says of a unit, by the names of its lines, with our flow.
pub fn compare(place: &str, flow: &Flow, instructions: &[Instruction<'_>], theirs: &BTreeMap<&str, &str>, tally: &mut Tally) {
    tally.units += 1;
    tally.instructions += instructions.len();
    if !flow.violations.is_empty() {
        tally.differences.push(format!("{place}: {:?}\n", flow.violations));
    }
    let words = |what: &str| theirs.get(what).unwrap_or(&"").split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
    let mut differences = Vec::new();
    let mut equal = |what: &str, theirs: &BTreeSet<String>, ours: &BTreeSet<String>| {
        let missing: Vec<_> = theirs.difference(ours).take(5).collect();
        let extra: Vec<_> = ours.difference(theirs).take(5).collect();
        if !missing.is_empty() || !extra.is_empty() {
            differences.push(format!("{place}: {what}: missing {missing:?}, unexplained {extra:?}\n"));
        }
    };

    equal("blocks", &words("blocks"), &flow.blocks.iter().map(|block| format!("{}-{}", block.start, block.end)).collect());
    equal("edges", &words("edges"), &edges(flow));

    let ours: BTreeSet<_> = flow.data_edges.iter().filter(|edge| edge.kind == DataKind::Stack).flat_map(stack_use).collect();
    let (extent, uses) = theirs["stack"].split_once(' ').unwrap_or((theirs["stack"], ""));
    let uses: BTreeSet<_> = uses.split_whitespace().map(str::to_owned).collect();
    if extent == "every" {
        equal("stack", &uses, &ours);
        let depth = |row: &flow::StackRow| row.depth_before.map_or("-".to_owned(), |depth| depth.to_string());
        let depths: Vec<_> = std::iter::once(flow.max_stack_depth.to_string()).chain(flow.stack.iter().map(depth)).collect();
        if theirs["depths"] != depths.join(" ") {
            differences.push(format!("{place}: depths\n  theirs {}\n  ours   {}\n", theirs["depths"], depths.join(" ")));
        }
        tally.every_way += 1;
        tally.stack_edges += uses.len();
    } else {
        equal("stack", &uses, &ours.intersection(&uses).cloned().collect());
    }

    let followed = words("followed");
    let variable_edges = || flow.data_edges.iter().filter(|edge| edge.kind != DataKind::Stack);
    let ours: BTreeSet<_> = variable_edges().filter(|edge| followed.contains(&variable_key(edge))).flat_map(variable_use).collect();
    let every = words("every");
    tally.variables += followed.len();
    tally.variable_edges += every.len();
    let mut equal = |what: &str, theirs: &BTreeSet<String>, ours: &BTreeSet<String>| {
        let missing: Vec<_> = theirs.difference(ours).take(5).collect();
        let extra: Vec<_> = ours.difference(theirs).take(5).collect();
        if !missing.is_empty() || !extra.is_empty() {
            differences.push(format!("{place}: {what}: missing {missing:?}, unexplained {extra:?}\n"));
        }
    };
    equal("variables", &every, &ours);
    let (all, walked): (BTreeSet<_>, _) = (variable_edges().flat_map(variable_use).collect(), words("walked"));
    equal("walked variables", &walked, &all.intersection(&walked).cloned().collect());
    tally.differences.append(&mut differences);
}

/// What is wrong, if anything, with the edges of local variables and cells, given what was read where, and which instructions were met.
/// Where every way was gone, those edges are all there are.
pub fn compare_observed(flow: &Flow, every_way: bool, met: &[String], uses: &[String]) -> Option<String> {
    let uses: BTreeSet<_> = uses.iter().cloned().collect();
    let slots = flow.data_edges.iter().filter(|edge| matches!(edge.kind, DataKind::Local | DataKind::Cell));
    let ours: BTreeSet<_> = slots.filter(|edge| met.contains(&edge.dst.to_string())).flat_map(variable_use).collect();
    let missing: Vec<_> = uses.difference(&ours).collect();
    let extra: Vec<_> = ours.difference(&uses).filter(|_| every_way).collect();
    (!missing.is_empty() || !extra.is_empty()).then(|| format!("missing {missing:?}, unexplained {extra:?}"))
}

fn edges(flow: &Flow) -> BTreeSet<String> {
    let text = |edge: &flow::Edge| {
        let [src, dst] = [edge.src, edge.dst].map(|block| flow.blocks[block as usize].start);
        let detail = match (edge.kind, edge.polarity, edge.exc) {
            (EdgeKind::Exc, _, Some(exc)) => exc.to_string(),
            (_, Some(true), _) => "T".to_owned(),
            (_, Some(false), _) => "F".to_owned(),
            _ => "-".to_owned(),
        };
        format!("{src}:{dst}:{}:{detail}", edge.kind.as_str())
    };
    flow.edges.iter().map(text).collect()
}

/// The judge's labels of a producer.
fn labels(producer: Producer) -> Vec<i64> {
    let exception = |handler: u32| -2 - 2 * i64::from(handler);
    match producer {
        Producer::Argument => vec![-1],
        Producer::Instr(instr) => vec![instr.into()],
        Producer::Exception(handler) => vec![exception(handler)],
        Producer::Lasti(handler) => vec![exception(handler) - 1],
        Producer::Phi(instr) => vec![instr.into(), exception(instr)],
    }
}

fn stack_use(edge: &DataEdge) -> impl Iterator<Item = String> {
    labels(edge.producer).into_iter().map(|label| format!("{}:{}:{label}", edge.dst, edge.operand_index))
}

fn variable_use(edge: &DataEdge) -> impl Iterator<Item = String> {
    let namespace = edge.variable.map_or("", |variable| variable.namespace.as_str());
    labels(edge.producer).into_iter().map(move |label| format!("{}:{namespace}:{}:{label}", edge.dst, edge.operand_index))
}

fn variable_key(edge: &DataEdge) -> String {
    let variable = edge.variable.expect("a use of a variable names it");
    let kind = match variable.namespace {
        Namespace::Local | Namespace::Cell => "fast",
        Namespace::Global => "global",
        Namespace::Name => "name",
    };
    format!("{kind}:{}", variable.index)
}

use bytefacts_bytecode::flow;
