WITH shapes AS (
  -- The callable, the slot behind it, and what names the keywords.
  SELECT i.code_unit_id, i.instr_index,
    sum(CASE WHEN e.operand_index = 0 THEN 1 ELSE 0 END) AS producers,
    min(CASE WHEN e.operand_index = 0 THEN e.src_instr_index END) AS callee_src,
    min(CASE WHEN e.operand_index = 1 THEN e.src_instr_index END) AS self_src,
    min(CASE WHEN e.operand_index > 1 THEN e.src_instr_index END) AS names_src
  FROM records.code_objects_instructions i
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = i.code_unit_id AND e.dst_instr_index = i.instr_index
  WHERE i.opname IN ('CALL', 'CALL_KW', 'CALL_FUNCTION_EX')
    AND e.kind = 'USE_STACK' AND (e.operand_index <= 1 OR (i.opname = 'CALL_KW' AND e.operand_index = i.arg + 2))
  GROUP BY i.code_unit_id, i.instr_index
), written AS (
  -- The compiler calls too: decorators, comprehensions, `with` and `assert` put a value of their own into the slot behind the
  -- callable, where a call that is written has nothing, or what came with the method.
  SELECT i.repo, i.file_id, i.path, i.code_unit_id, i.instr_index, i."offset", i.opname, i.arg, i.line_number,
    i.span_start_line0, i.span_start_col, i.span_end_line0, i.span_end_col, s.producers, s.callee_src,
    {producer_kind} AS kind, {variable} AS name, p.opname AS callee_opname, k.argval_str AS names,
    {keywords} AS keywords
  FROM shapes s
  JOIN (SELECT *, stack_depth_before - pops AS slot FROM records.code_objects_instructions) i ON i.code_unit_id = s.code_unit_id
    AND i.instr_index = s.instr_index
  JOIN records.code_objects_instructions p ON p.code_unit_id = s.code_unit_id AND p.instr_index = s.callee_src
  LEFT JOIN records.code_objects_instructions n ON n.code_unit_id = s.code_unit_id AND n.instr_index = s.self_src AND n.opname = 'PUSH_NULL'
  LEFT JOIN records.code_objects_instructions k ON k.code_unit_id = s.code_unit_id AND k.instr_index = s.names_src
    AND k.opname = 'LOAD_CONST'
  WHERE (n.opname IS NOT NULL OR s.self_src = s.callee_src) AND p.opname <> 'LOAD_BUILD_CLASS'
    AND NOT (p.opname IN ('MAKE_FUNCTION', 'SET_FUNCTION_ATTRIBUTE') AND p.span_start_line0 = i.span_start_line0
      AND p.span_start_col = i.span_start_col)
)
SELECT c.repo, c.file_id, c.path, c.code_unit_id, c.instr_index, c."offset",
  CASE WHEN producers > 1 THEN NULL ELSE coalesce(a.dotted, c.name) END AS callee,
  CASE WHEN producers > 1 THEN NULL ELSE coalesce(a.attribute, c.name) END AS callee_name,
  CASE WHEN producers > 1 THEN 'several' ELSE coalesce(a.base_kind, c.kind) END AS base_kind,
  coalesce(a.attribute IS NOT NULL AND producers = 1, false) AS is_attribute,
  CASE WHEN c.opname = 'CALL_FUNCTION_EX' THEN NULL ELSE c.arg - c.keywords END AS positional_count,
  CASE WHEN c.opname = 'CALL_FUNCTION_EX' AND c.arg = 1 THEN NULL ELSE c.keywords END AS keyword_count,
  CASE WHEN c.opname = 'CALL_FUNCTION_EX' AND c.arg = 1 THEN NULL
    WHEN c.names IS NULL THEN '' ELSE translate(c.names, '(,)''', '') END AS keyword_names,
  c.opname = 'CALL_FUNCTION_EX' AS is_unpacked,
  c.line_number, c.span_start_line0 AS pos_start_line, c.span_start_col AS pos_start_col, c.span_end_line0 AS pos_end_line,
    c.span_end_col AS pos_end_col
FROM written c
LEFT JOIN py_bc_attributes a ON a.code_unit_id = c.code_unit_id AND a.instr_index = c.callee_src
