//! Edges of the data flow graph, and events of variables.

use super::{
    Check, Place,
    code::{Code, UnitScope, is},
};

impl UnitScope<'_, '_> {
    pub(super) fn data(&mut self, code: &Code) {
        let (edges, instrs) = (&self.columns.dfg_edges.items, &self.columns.instructions.items);
        // Whether each operand of each instruction has a producer, one instruction behind the other.
        let mut places = Vec::with_capacity(self.instrs.len() + 1);
        let mut operands = 0;
        for at in self.instrs.clone() {
            places.push(operands);
            // Where control never comes no operand has a producer.
            let reachable = instrs.stack_depth_before.get(at).is_some();
            let count = instrs.operands.get(at).and_then(|count| usize::try_from(count).ok());
            operands += count.filter(|_| reachable).unwrap_or(0).min(MOST_OPERANDS - operands);
        }
        places.push(operands);
        let mut produced = vec![false; operands];

        for (nth, at) in self.data_edges.clone().enumerate() {
            let (src, dst) = (edges.src_instr_index.get(at), edges.dst_instr_index.get(at));
            let from_argument = src == Some(-1) && edges.src_instr_offset.get(at).is_none();
            let resolves =
                (from_argument || code.is_at(src, edges.src_instr_offset.get(at))) && code.is_at(dst, edges.dst_instr_offset.get(at));
            self.expect(Check::ReferenceDataEdge, resolves, Place::DataEdge(nth), || {
                format!(
                    "from instruction {src:?} at {:?} to {dst:?} at {:?}",
                    edges.src_instr_offset.get(at),
                    edges.dst_instr_offset.get(at)
                )
            });

            let (kind, producer, symbol) = (edges.kind.get(at), edges.producer_kind.get(at), edges.symbol.get(at));
            let on_stack = kind == Some("USE_STACK");
            let holds = matches!(kind, Some("USE_STACK" | "USE_LOCAL" | "USE_CELL" | "USE_GLOBAL" | "USE_NAME"))
                && on_stack != symbol.is_some()
                && match producer {
                    Some("argument") => src == Some(-1) && !on_stack,
                    Some("instr") => src.is_some_and(|src| src >= 0),
                    Some("exception" | "lasti" | "phi") => on_stack && src.is_some_and(|src| src >= 0),
                    _ => false,
                };
            self.expect(Check::DataDetail, holds, Place::DataEdge(nth), || {
                format!("kind {kind:?} from producer {producer:?} {src:?} with symbol {symbol:?}")
            });

            if on_stack && resolves {
                let operand = edges.operand_index.get(at);
                let place = dst.zip(operand).and_then(|(dst, operand)| place(&places, dst, operand));
                match place.and_then(|place| produced.get_mut(place)) {
                    Some(place) => *place = true,
                    None => self
                        .find(Check::DataOperand, Place::DataEdge(nth), || format!("instruction {dst:?} has no operand {operand:?} there")),
                }
            }
        }

        self.file.tally.looked(Check::DataOperand, operands as u64);
        for (nth, place) in places.windows(2).enumerate() {
            let [start, end] = place else { continue };
            for (operand, produced) in produced.get(*start..*end).unwrap_or_default().iter().enumerate() {
                if !produced {
                    self.find(Check::DataOperand, Place::Instr(nth), || format!("operand {operand} has no producer"));
                }
            }
        }
    }

    pub(super) fn events(&mut self, code: &Code) {
        let events = &self.columns.def_use_events.items;
        let mut last = -1;
        for (nth, at) in self.events.clone().enumerate() {
            let (instr, offset) = (events.instr_index.get(at), events.instr_offset.get(at));
            let ordered = instr.unwrap_or(-1) >= last;
            let resolves = if instr.is_none() { offset.is_none() } else { code.is_at(instr, offset) };
            self.expect(Check::ReferenceEvent, resolves && ordered, Place::Event(nth), || {
                format!("instruction {instr:?} at {offset:?} behind instruction {last}")
            });
            last = instr.unwrap_or(last);
            let (kind, namespace) = (events.kind.get(at), events.namespace.get(at));
            let holds = is(events.event_index.get(at), nth)
                && matches!(kind, Some("define" | "use" | "delete" | "capture"))
                && matches!(namespace, Some("local" | "cell" | "global" | "name"))
                && (instr.is_some() || kind == Some("define"));
            self.expect(Check::EventDetail, holds, Place::Event(nth), || {
                format!("event_index {:?}, kind {kind:?}, namespace {namespace:?}", events.event_index.get(at))
            });
        }
    }
}

/// More than the operands of any unit, so that a wrong number cannot ask for all memory.
const MOST_OPERANDS: usize = 1 << 26;

/// The place of an operand, if the instruction has it.
fn place(places: &[usize], instr: i32, operand: i32) -> Option<usize> {
    let instr = usize::try_from(instr).ok()?;
    let (start, end) = (places.get(instr)?, places.get(instr + 1)?);
    let place = start.checked_add(usize::try_from(operand).ok()?)?;
    (place < *end).then_some(place)
}
