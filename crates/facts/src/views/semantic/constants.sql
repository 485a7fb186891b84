WITH for_the_compiler AS (
  -- Level and names of imports, the names of keywords, and what a class says of its methods.
  SELECT DISTINCT e.code_unit_id, e.src_instr_index
  FROM records.code_objects_instructions i
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = i.code_unit_id AND e.dst_instr_index = i.instr_index
  WHERE e.kind = 'USE_STACK' AND (i.opname = 'IMPORT_NAME' OR (i.opname = 'CALL_KW' AND e.operand_index = i.arg + 2)
    OR (i.opname = 'BUILD_CONST_KEY_MAP' AND e.operand_index = i.arg)
    OR (i.opname = 'STORE_NAME' AND i.argval_str = '__static_attributes__'))
)
SELECT i.repo, i.file_id, i.path, i.code_unit_id, i.instr_index, i."offset", c.const_type, i.argval_str AS text, i.argval_int AS number,
  i.argrepr AS literal, i.opname = 'RETURN_CONST' AS is_returned,
  i.line_number, i.span_start_line0 AS pos_start_line, i.span_start_col AS pos_start_col, i.span_end_line0 AS pos_end_line,
    i.span_end_col AS pos_end_col
FROM records.code_objects_instructions i
JOIN records.code_objects_consts c ON c.code_unit_id = i.code_unit_id AND c.const_index = i.arg
LEFT JOIN for_the_compiler n ON n.code_unit_id = i.code_unit_id AND n.src_instr_index = i.instr_index
WHERE i.opname IN ('LOAD_CONST', 'RETURN_CONST') AND c.const_type IN ('str', 'bytes', 'int', 'float', 'complex', 'tuple', 'frozenset')
  AND n.code_unit_id IS NULL
  AND (i.span_start_col < i.span_end_col OR i.span_start_line0 < i.span_end_line0)
