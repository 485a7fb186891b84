"""Comparator: every column of `bytecode_files_v1` by Python alone, what `extract_dis.py` writes and what is derived.

    venv/bin/python extract_all.py [--tuned] [--repo KEY] LISTING OUT.parquet

Instructions come from `decode.py` (`dis.get_instructions`; with `--tuned` the bytes themselves), blocks, edges, stack
depths, data flow and events of variables from `flow.py`, digests from `digests.py`. They are written from the data
contract, as fast as plain Python goes, so that this is what the product is fairly compared with, and so that
`compare.py` can judge the one by the other. The schema is that of a landed table; `--repo` is the repository that ids
are made with (the partition column itself is not in the files).

Prints the same JSON as `extract_dis.py`. One process.
"""

import argparse
import importlib.util
import marshal
import sys
from array import array

import decode
import digests
import effects
import extract_dis
import flow
import variables
from columns import BLOCK, CFG_EDGE, DFG_EDGE, ERROR, EVENT, EXCEPTION, INSTRUCTION, LINE, SCHEMA, UNIT
from extract_dis import CACHE, INT, KINDS, MAP, ONE, OPNAMES, TEXT, Rows, facts, list_of, listing, pa, pc
from graph import BLOCK_KINDS, EDGE_KINDS, EXC, NEXT, FlowError

LOGICAL_NAME = "<bytefacts>"
"""What code is compiled under: the marshal digest knows no paths. Rows name the path in the corpus instead."""
MARSHAL_VERSION = 2


ROOT_ATTRS = [
    ("python_version", sys.version.split()[0]),
    ("python_magic", importlib.util.MAGIC_NUMBER.hex()),
    ("python_implementation", sys.implementation.name),
    ("optimize", "0"),
    ("dont_inherit", "True"),
    ("adaptive", "False"),
    ("include_cfg", "True"),
    ("analyzer_version", "extract_all.py"),
]

KINDS_OF_BLOCKS = pa.array(BLOCK_KINDS, TEXT)
KINDS_OF_EDGES = pa.array(EDGE_KINDS, TEXT)
ENDS_OF_KEYS = pa.array([f":{kind}" for kind in EDGE_KINDS], TEXT)
POLARITIES = pa.array(["false", "true"], TEXT)
USES = pa.array([use for use in flow.USES for _ in flow.PRODUCERS], TEXT)
PRODUCERS = pa.array(flow.PRODUCERS * len(flow.USES), TEXT)
EVENT_KINDS = pa.array(["use", "define", "delete", "capture"], TEXT)
NAMESPACES = pa.array(["local", "cell", "global", "name"], TEXT)
LENGTHS = pa.array(decode.LENGTHS, INT)
CACHES = pa.array(
    [[(name, words, "0000" * words) for name, words in layout] for layout in facts.CACHE_LAYOUT], list_of(CACHE)
)


class Table:
    """Distinct values of a column, which is written as their numbers."""

    def __init__(self, first):
        self.values = [first]
        self._numbers = {first: 0}

    def number(self, value):
        found = self._numbers.get(value)
        if found is None:
            found = self._numbers[value] = len(self.values)
            self.values.append(value)
        return found


class Batch(extract_dis.Batch):
    """Files on their way to one row group, with what is derived."""

    schema, unit, error, instruction, line, exception = SCHEMA, UNIT, ERROR, INSTRUCTION, LINE, EXCEPTION
    decode = staticmethod(decode.by_dis)
    repo = None

    def __init__(self):
        super().__init__()
        self.blocks, self.edges, self.uses, self.events = Rows(), Rows(), Rows(), Rows()
        self.edge_attrs = Table(())
        self.line_starts, self.line_ends, self.line_counts, self.maps_bytes = array("q"), array("q"), [], []

    def add(self, path, raw):
        path, source = facts.utf8_text(path), facts.Source(raw)
        code, error, warnings = facts.compile_source(source, LOGICAL_NAME)
        file_id = facts.file_id(path, self.repo)
        units, failures, marshalled = [], [], None
        if code is not None:
            try:
                marshalled = digests.hex_digest((marshal.dumps(code, MARSHAL_VERSION),))
            except ValueError as exception:  # nested too deeply
                code, error = None, facts.exception_fields(exception, "marshal")
        if code is not None:
            for unit in facts.walk(code):
                self.add_unit(unit, path, file_id, source, units, failures)
        of_units = {record["code_unit_id"]: at for at, record in enumerate(units)} if failures else {}
        errors = extract_dis.error_records(error, warnings) + failures
        for record in errors:
            if record.get("line1") and record.get("source_line") is None:
                record["source_line"] = source_line(source, record["line1"])
        self.add_rows(units, errors)
        placed = [(of_units.get(record.get("code_unit_id")), record) for record in errors]
        digest = digests.of_file(source.sha256, [record["facts_digest"] for record in units], placed)
        starts, ends = source.lines
        self.line_starts.extend(starts)
        self.line_ends.extend(ends)
        self.line_counts.append(len(starts))
        self.maps_bytes.append(source.is_utf8)
        self.files.append((path, file_id, source.sha256, len(raw), len(starts), digest, marshalled))
        return len(units), len(errors)

    def add_unit(self, unit, path, file_id, source, units, failures):
        code = unit.code
        record = extract_dis.unit_record(unit, file_id, source)
        record["co_filename"] = path
        consts, ints, strs = facts.constants(code)
        texts, kinds = consts["const_repr"], consts["const_type"]
        pathless = texts
        if "code" in kinds:
            pathless = texts[:]
            for slot, kind in enumerate(kinds):
                if kind == "code":
                    pathless[slot] = code_text(code.co_consts[slot], "")
                    texts[slot] = strs[slot] = code_text(code.co_consts[slot], path)
        consts["child_code_unit_id"] = facts.child_ids(unit, file_id)
        record["consts_json"] = extract_dis.json_array(texts)
        units.append(record)
        lines, exceptions = facts.line_table(code), facts.exception_table(code)
        self.add_tables(consts, lines, exceptions)
        stream, encoded, derived = None, (), None
        try:
            stream = self.decode(code, lines)
        except Exception as exception:  # `dis` gives up on a huge int
            failures.append(extract_dis.failure(exception, "disassembly", record))
            self.instructions.extend(0, {})
        else:
            arguments = decode.Arguments(code, texts, ints, strs)
            *argument_columns, encoded, effects_of = decode.resolve(stream, arguments)
            try:
                derived = flow.analyze(code, stream, effects_of, exceptions)
            except FlowError as exception:
                failures.append(extract_dis.failure(exception, "stack_effect", record))
            self.add_instructions(stream, argument_columns, derived)
        self.add_flow(code, stream, derived, exceptions)
        record["max_stack_depth"] = derived and derived.max_depth
        constants = list(zip(kinds, pathless))
        record["facts_digest"] = digests.of_unit(
            unit, record["unit_kind"], constants, lines, exceptions, stream, encoded, derived
        )

    def add_instructions(self, stream, argument_columns, derived):
        ints, strs, reprs = argument_columns
        first_line, last_line, first_col, last_col = zip(*stream.positions)
        columns = {
            "opcode": stream.ops,
            "arg": stream.args,
            "offset": stream.offsets,
            "start_offset": stream.starts,
            "argval_int": ints,
            "argval_str": strs,
            "argrepr": reprs,
            "line_number": stream.lines,
            "starts_line": stream.starts_line,
            "label": stream.labels,
            "jump_target": stream.targets,
            "first_line": first_line,
            "last_line": last_line,
            "start_col": first_col,
            "end_col": last_col,
        }
        if derived is None:
            columns["depth"] = columns["counts"] = columns["block_index"] = [None] * len(ints)
        else:
            columns["depth"] = derived.depths
            columns["counts"] = derived.numbers
            graph = derived.graph
            columns["block_index"] = block_of = []
            for block, (first, last) in enumerate(zip(graph.firsts, graph.lasts)):
                block_of += [block] * (last + 1 - first)
        self.instructions.extend(len(ints), columns)

    def add_flow(self, code, stream, derived, exceptions):
        """Takes in what is derived from a unit's instructions."""
        if derived is None:
            for rows in (self.blocks, self.edges, self.uses, self.events):
                rows.extend(0, {})
            return
        graph, edges, accesses = derived.graph, derived.edges, derived.accesses
        self.blocks.extend(
            len(graph.firsts),
            {
                "start_offset": graph.starts,
                "end_offset": graph.ends,
                "kind": graph.kinds,
                "first_instr_index": graph.firsts,
                "last_instr_index": graph.lasts,
                "is_exit": graph.exits,
                "is_reachable": graph.reachable,
                "loop_depth": graph.loop_depths,
                "immediate_dominator": graph.dominators,
            },
        )
        self.add_edges(graph, stream, exceptions)
        plus = variables.locals_plus(code)
        tables = plus, plus, code.co_names, code.co_names
        symbols = {var: tables[var % 4][var // 4] for var in {var for _, _, var, _ in accesses}}
        self.uses.extend(
            len(edges.src),
            {
                "src_instr_index": edges.src,
                "dst_instr_index": edges.dst,
                "code": edges.codes,
                "operand_index": edges.operands,
                "symbol": map(symbols.get, edges.variables),
            },
        )
        arguments = variables.argument_count(code)
        self.events.extend(
            arguments + len(accesses),
            {
                "instr_index": [None] * arguments + [at for at, _, _, _ in accesses],
                "kind": [effects.DEFINE] * arguments + [what for _, what, _, _ in accesses],
                "namespace": [effects.LOCAL] * arguments + [var % 4 for _, _, var, _ in accesses],
                "symbol": [*plus[:arguments], *(symbols[var] for _, _, var, _ in accesses)],
            },
        )

    def add_edges(self, graph, stream, exceptions):
        edges = graph.edges
        if not edges:
            self.edges.extend(0, {})
            return
        ops, labels = stream.ops, stream.labels
        number, attrs = self.edge_attrs.number, []
        for src, dst, kind, _, _, entry, _ in edges:
            if kind == NEXT:
                attrs.append(0)
            elif kind == EXC:
                attrs.append(number((exceptions["depth"][entry], exceptions["lasti"][entry])))
            else:
                jump = graph.lasts[src]
                attrs.append(number((ops[jump], labels[jump], labels[graph.firsts[dst]])))
        src, dst, kinds, polarities, conditions, entries, back = zip(*edges)
        self.edges.extend(
            len(edges),
            {
                "src": src,
                "dst": dst,
                "kind": kinds,
                "polarity": polarities,
                "cond_instr_index": conditions,
                "exc_index": entries,
                "is_back_edge": back,
                "attrs": attrs,
            },
        )

    # What follows is done by columns, in Arrow.

    def file_columns(self):
        *files, facts_digests, marshal_digests = zip(*self.files)
        self.files = list(zip(*files))
        self.first_instructions, self.first_blocks = self.instructions.starts(), self.blocks.starts()
        self.offsets = self.instructions.array("offset", INT)
        self.block_starts = self.blocks.array("start_offset", INT)
        self.block_ends = self.blocks.array("end_offset", INT)
        return {
            **super().file_columns(),
            "attrs": pa.array([ROOT_ATTRS] * len(self.files), MAP),
            "facts_digest": pa.array(facts_digests, TEXT),
            "marshal_digest": pa.array(marshal_digests, TEXT),
        }

    def unit_columns(self):
        return {
            **super().unit_columns(),
            "blocks": self.blocks.structs(BLOCK, **self.block_columns()),
            "cfg_edges": self.edges.structs(CFG_EDGE, **self.edge_columns()),
            "dfg_edges": self.uses.structs(DFG_EDGE, **self.use_columns()),
            "def_use_events": self.events.structs(EVENT, **self.event_columns()),
        }

    def error_columns(self):
        return {"attrs": empty_maps(self.errors)}

    def line_columns(self):
        return {"attrs": empty_maps(self.lines)}

    def exception_columns(self):
        return {**super().exception_columns(), "attrs": empty_maps(self.exceptions)}

    def instruction_columns(self):
        rows, parents = self.instructions, self.instructions.parents()
        opcode, arg, label = (rows.array(name, INT) for name in ("opcode", "arg", "label"))
        opname = OPNAMES.take(opcode)
        depth = rows.array("depth", INT)
        before = pc.if_else(pc.less(depth, 0), None, depth)
        counts = rows.array("counts", INT)
        pops, pushes, operands = (pa.array(column, INT).take(counts) for column in zip(*effects.COUNTS))
        after = pc.add(before, pc.subtract(pushes, pops))
        block_index = rows.array("block_index", INT)
        block = pc.add(block_index, self.first_blocks.take(parents))
        return {
            "instr_index": rows.indexes(),
            "offset": self.offsets,
            "end_offset": pc.add(self.offsets, LENGTHS.take(opcode)),
            "opname": opname,
            "baseopname": opname,
            "opcode": opcode,
            "baseopcode": opcode,
            "arg": arg,
            "oparg": arg,
            "argval_kind": KINDS.take(opcode),
            "label": label,
            "is_jump_target": label.is_valid(),
            "cache_info": CACHES.take(opcode),
            "span": self.spans(parents),
            "attrs": depth_maps(before, after),
            "stack_depth_before": before,
            "stack_depth_after": after,
            "pops": pops,
            "pushes": pushes,
            "operands": operands,
            "block_index": block_index,
            "block_start_offset": self.block_starts.take(block),
            "block_end_offset": self.block_ends.take(block),
        }

    def spans(self, parents):
        rows = self.instructions
        first_line, last_line, first_col, last_col = (
            rows.array(name, INT) for name in ("first_line", "last_line", "start_col", "end_col")
        )
        counts = pa.array(self.line_counts, INT)
        before = pc.subtract(pc.cumulative_sum(counts), counts)
        file = self.units.parents().take(parents)
        lines = pc.if_else(pa.array(self.maps_bytes), before, None).take(file), counts.take(file)
        start, end = self.byte_offsets(first_line, first_col, *lines), self.byte_offsets(last_line, last_col, *lines)
        size = pc.subtract(end, start)
        mapped = pc.fill_null(pc.greater_equal(size, 0), False)
        return extract_dis.spans(
            {
                "start_line0": line0(first_line),
                "start_col": first_col,
                "end_line0": line0(last_line),
                "end_col": last_col,
                "byte_start": pc.if_else(mapped, start, None),
                "byte_len": pc.if_else(mapped, size, None),
            }
        )

    def byte_offsets(self, line, col, before, count):
        """Places in the raw files, null outside the file or the line; `before` are the lines of the files before."""
        inside = pc.and_(pc.greater(line, 0), pc.less_equal(line, count))
        at = pc.if_else(inside, pc.subtract(pc.add(before, line), ONE), None)
        offset = pc.add(viewed(self.line_starts).take(at), col)
        inside = pc.and_(pc.greater_equal(col, 0), pc.less_equal(offset, viewed(self.line_ends).take(at)))
        return pc.if_else(inside, offset, None).cast(INT)

    def block_columns(self):
        rows = self.blocks
        return {
            "start_offset": self.block_starts,
            "end_offset": self.block_ends,
            "kind": KINDS_OF_BLOCKS.take(rows.array("kind", INT)),
            "attrs": empty_maps(rows),
            "block_index": rows.indexes(),
        }

    def edge_columns(self):
        rows = self.edges
        parents = rows.parents()
        first_block = self.first_blocks.take(parents)
        src, dst = (pc.add(rows.array(name, INT), first_block) for name in ("src", "dst"))
        starts, ends = self.block_starts.take(src), self.block_starts.take(dst)
        kind, entry = rows.array("kind", INT), rows.array("exc_index", INT)
        entry_key = pc.fill_null(pc.binary_join_element_wise("", entry.cast(TEXT), ":"), "")
        key = pc.binary_join_element_wise(starts.cast(TEXT), ends.cast(TEXT), ":")
        condition = rows.array("cond_instr_index", INT)
        instruction = pc.add(condition, self.first_instructions.take(parents))
        attrs = pa.array([edge_attrs(*value) for value in self.edge_attrs.values], MAP)
        return {
            "src_block_start": starts,
            "src_block_end": self.block_ends.take(src),
            "dst_block_start": ends,
            "dst_block_end": self.block_ends.take(dst),
            "kind": KINDS_OF_EDGES.take(kind),
            "edge_key": pc.binary_join_element_wise(key, ENDS_OF_KEYS.take(kind), entry_key, ""),
            "cond_instr_index": condition,
            "cond_instr_offset": self.offsets.take(instruction),
            "exc_index": entry,
            "attrs": attrs.take(rows.array("attrs", INT)),
            "polarity": POLARITIES.take(rows.array("polarity", pa.bool_()).cast(INT)),
        }

    def use_columns(self):
        rows = self.uses
        first = self.first_instructions.take(rows.parents())
        src, dst, code = (rows.array(name, INT) for name in ("src_instr_index", "dst_instr_index", "code"))
        made_here = pc.if_else(pc.less(src, 0), None, src)
        return {
            "src_instr_index": src,
            "dst_instr_index": dst,
            "kind": USES.take(code),
            "attrs": empty_maps(rows),
            "producer_kind": PRODUCERS.take(code),
            "src_instr_offset": self.offsets.take(pc.add(made_here, first)),
            "dst_instr_offset": self.offsets.take(pc.add(dst, first)),
        }

    def event_columns(self):
        rows = self.events
        at = rows.array("instr_index", INT)
        return {
            "event_index": rows.indexes(),
            "instr_index": at,
            "instr_offset": self.offsets.take(pc.add(at, self.first_instructions.take(rows.parents()))),
            "kind": EVENT_KINDS.take(rows.array("kind", INT)),
            "namespace": NAMESPACES.take(rows.array("namespace", INT)),
        }


def code_text(code, path):
    """Canonical text of a code object, as if it were compiled under `path`."""
    line = code.co_firstlineno or -1
    return facts.utf8_text(f'<code object {code.co_name}, file "{path}", line {line}>')


def source_line(source, line1):
    """The text of a line; CPython gives none of its own where it would have to look into the file."""
    starts, ends = source.lines
    if line1 > len(starts):
        return None
    line = source.raw[starts[line1 - 1] : ends[line1 - 1]]
    try:
        return line.decode("utf-8" if source.is_utf8 else "ascii")
    except UnicodeDecodeError:
        return None


def line0(line):
    return pc.if_else(pc.greater(line, 0), pc.subtract(line, ONE), None)


def viewed(numbers):
    kind = {"i": INT, "q": pa.int64()}[numbers.typecode]
    return pa.Array.from_buffers(kind, len(numbers), [None, pa.py_buffer(numbers)])


def empty_maps(rows):
    count = sum(rows.lengths)
    offsets = viewed(array("i", bytes(4 * (count + 1))))
    return pa.MapArray.from_arrays(offsets, pa.array([], TEXT), pa.array([], TEXT))


def depth_maps(before, after):
    """The depths once more, as texts. Few pairs of them are different."""
    width = 1 + (pc.max(after).as_py() or 0)
    code = pc.fill_null(pc.add(pc.multiply(before.cast(pa.int64()), width), after), -1).dictionary_encode()
    maps = []
    for value in code.dictionary.to_pylist():
        depths = divmod(value, width) if value >= 0 else ()
        maps.append([(name, str(depth)) for name, depth in zip(("stack_depth_before", "stack_depth_after"), depths)])
    return pa.array(maps, MAP).take(code.indices)


def edge_attrs(*value):
    if len(value) == 2:
        depth, lasti = value
        return [("depth", str(depth)), ("lasti", str(lasti))]
    if not value:
        return []
    op, label, target = value
    attrs = [("jump_kind", OPNAMES[op].as_py())]
    attrs += [("jump_label", str(label))] if label is not None else []
    return [*attrs, ("jump_target_label", str(target))]


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tuned", action="store_true", help="read the bytecode without `dis.get_instructions`")
    parser.add_argument("--repo", metavar="KEY", help="the repository that ids are made with [default: none]")
    parser.add_argument("listing")
    parser.add_argument("out")
    options = parser.parse_args(arguments)
    Batch.repo = options.repo
    Batch.decode = staticmethod(decode.by_bytes if options.tuned else decode.by_dis)
    files = listing.read(options.listing)
    return extract_dis.report(options.tuned, lambda: extract_dis.extract(files, options.out, Batch, "extract_all"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
