"""The schema of `bytecode_files_v1`: that of `extract_dis.py` and what is derived."""

import extract_dis
from extract_dis import INT, MAP, TEXT, list_of, pa, struct


def grown(kind, after, **fields):
    """A struct type with more fields behind the one named."""
    old = list(kind)
    at = 1 + [field.name for field in old].index(after)
    return pa.struct([*old[:at], *struct(**fields), *old[at:]])


def described(kind, name, **metadata):
    """A struct type of which one field says more about itself."""
    return pa.struct([field.with_metadata(metadata) if field.name == name else field for field in kind])


BLOCK = struct(
    "start_offset end_offset kind",
    start_offset=INT, end_offset=INT, kind=TEXT, attrs=MAP, block_index=INT, first_instr_index=INT,
    last_instr_index=INT, is_exit=pa.bool_(), is_reachable=pa.bool_(), loop_depth=INT, immediate_dominator=INT,
)  # fmt: skip
CFG_EDGE = struct(
    "src_block_start src_block_end dst_block_start dst_block_end kind edge_key",
    src_block_start=INT, src_block_end=INT, dst_block_start=INT, dst_block_end=INT, kind=TEXT, edge_key=TEXT,
    cond_instr_index=INT, cond_instr_offset=INT, exc_index=INT, attrs=MAP, polarity=TEXT, is_back_edge=pa.bool_(),
)  # fmt: skip
DFG_EDGE = struct(
    "src_instr_index dst_instr_index kind",
    src_instr_index=INT, dst_instr_index=INT, kind=TEXT, attrs=MAP, operand_index=INT, symbol=TEXT, producer_kind=TEXT,
    src_instr_offset=INT, dst_instr_offset=INT,
)  # fmt: skip
EVENT = struct(
    "event_index kind namespace symbol",
    event_index=INT, instr_index=INT, instr_offset=INT, kind=TEXT, namespace=TEXT, symbol=TEXT,
)  # fmt: skip
INSTRUCTION = grown(
    described(extract_dis.INSTRUCTION, "span", line_base="0", col_unit="byte", end_exclusive="true"), "span",
    attrs=MAP, stack_depth_before=INT, stack_depth_after=INT, pops=INT, pushes=INT, operands=INT, block_index=INT,
    block_start_offset=INT, block_end_offset=INT,
)  # fmt: skip
LINE = grown(described(extract_dis.LINE, "line1", line_base="1"), "line0", attrs=MAP)
EXCEPTION = grown(extract_dis.EXCEPTION, "lasti", attrs=MAP)
ERROR = grown(extract_dis.ERROR, "message", attrs=MAP)


def _unit():
    kind = grown(
        extract_dis.UNIT, "exception_table",
        blocks=list_of(BLOCK), cfg_edges=list_of(CFG_EDGE), dfg_edges=list_of(DFG_EDGE),
    )  # fmt: skip
    kind = grown(kind, "unit_kind", facts_digest=TEXT, max_stack_depth=INT, def_use_events=list_of(EVENT))
    renewed = {"line_table": LINE, "instructions": INSTRUCTION, "exception_table": EXCEPTION}
    return pa.struct(
        [field.with_type(list_of(renewed[field.name])) if field.name in renewed else field for field in kind]
    )


UNIT = _unit()


def _schema():
    fields = []
    for field in extract_dis.SCHEMA:
        renewed = {"code_objects": UNIT, "errors": ERROR}.get(field.name)
        fields.append(field if renewed is None else field.with_type(list_of(renewed)))
        if field.name == "attrs":
            fields += pa.field("facts_digest", TEXT), pa.field("marshal_digest", TEXT)
    metadata = {
        "schema_name": "bytecode_files_v1",
        "schema_version": "1",
        "bytecode_abi_version": "3.13",
        "bytecode_span_line_base": "0",
        "bytecode_span_col_unit": "byte",
        "bytecode_span_end_exclusive": "true",
        "required_non_null": "file_id,path",
    }
    return pa.schema(fields, metadata)


SCHEMA = _schema()
