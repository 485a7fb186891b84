WITH called AS (
  SELECT *, 0 AS skipped FROM py_bc_calls
), {arguments}
SELECT repo, file_id, path, code_unit_id, instr_index, "offset", callee, kind,
  CASE WHEN kind = 'positional' THEN nth END AS position,
  CASE WHEN kind = 'keyword' THEN keyword END AS keyword,
  value_kind, value, value_instr_index, line_number, pos_start_line, pos_start_col, pos_end_line, pos_end_col
FROM arguments WHERE kind IS NOT NULL
