SELECT repo, file_id, path, code_unit_id, instr_index, "offset", argval_str AS name,
  CASE WHEN opname = 'STORE_GLOBAL' THEN 'write' ELSE 'delete' END AS access,
  line_number, span_start_line0 AS pos_start_line, span_start_col AS pos_start_col, span_end_line0 AS pos_end_line,
    span_end_col AS pos_end_col
FROM records.code_objects_instructions
WHERE opname IN ('STORE_GLOBAL', 'DELETE_GLOBAL')
