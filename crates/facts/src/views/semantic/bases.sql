WITH bodies AS (
  -- The constant that is the body of a class stands first behind what loads the builder, and has the place of the statement.
  SELECT b.code_unit_id, b.instr_index, min(x.instr_index) AS body
  FROM records.code_objects_instructions b
  JOIN records.code_objects_instructions x ON x.code_unit_id = b.code_unit_id AND x.span_start_line0 = b.span_start_line0
    AND x.span_start_col = b.span_start_col AND x.span_end_line0 = b.span_end_line0 AND x.span_end_col = b.span_end_col
  WHERE b.opname = 'LOAD_BUILD_CLASS' AND x.opname = 'LOAD_CONST' AND x.argrepr LIKE '<code object %' AND x.instr_index > b.instr_index
  GROUP BY b.code_unit_id, b.instr_index
), called AS (
  SELECT i.repo, i.file_id, i.path, i.code_unit_id, i.instr_index, i."offset", i.line_number, i.span_start_line0 AS pos_start_line,
    i.span_start_col AS pos_start_col, i.span_end_line0 AS pos_end_line, i.span_end_col AS pos_end_col,
    u.child_code_unit_id AS class_code_unit_id, 2 AS skipped, i.arg - {keywords} - 2 AS positional_count, {keywords} AS keyword_count,
    translate(k.argval_str, '(,)''', '') AS keyword_names
  FROM bodies b
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = b.code_unit_id AND e.src_instr_index = b.instr_index
  JOIN records.code_objects_instructions i ON i.code_unit_id = e.code_unit_id AND i.instr_index = e.dst_instr_index
  JOIN records.code_objects_instructions x ON x.code_unit_id = b.code_unit_id AND x.instr_index = b.body
  JOIN records.code_objects_consts u ON u.code_unit_id = x.code_unit_id AND u.const_index = x.arg
  LEFT JOIN records.code_objects_dfg_edges n ON n.code_unit_id = i.code_unit_id AND n.dst_instr_index = i.instr_index
    AND n.kind = 'USE_STACK' AND i.opname = 'CALL_KW' AND n.operand_index = i.arg + 2
  LEFT JOIN records.code_objects_instructions k ON k.code_unit_id = n.code_unit_id AND k.instr_index = n.src_instr_index
  WHERE e.kind = 'USE_STACK' AND e.operand_index = 0 AND i.opname IN ('CALL', 'CALL_KW', 'CALL_FUNCTION_EX')
), {arguments}
SELECT a.repo, a.file_id, a.path, a.code_unit_id, a.instr_index, a."offset", a.class_code_unit_id, c.name AS class_name,
  a.kind, CASE WHEN a.kind = 'positional' THEN a.nth END AS position, CASE WHEN a.kind = 'keyword' THEN a.keyword END AS keyword,
  coalesce(t.dotted, a.value) AS base, coalesce(t.base_kind, a.value_kind) AS base_kind,
  a.line_number, a.pos_start_line, a.pos_start_col, a.pos_end_line, a.pos_end_col
FROM arguments a
JOIN records.code_objects c ON c.code_unit_id = a.class_code_unit_id
LEFT JOIN py_bc_attributes t ON t.code_unit_id = a.code_unit_id AND t.instr_index = a.value_instr_index
WHERE a.kind IS NOT NULL AND coalesce(a.value <> '.generic_base', true)
