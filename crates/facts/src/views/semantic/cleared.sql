cleared AS (
  -- At its end a handler clears its variable: a store and a deletion, which have one place if they have any.
  SELECT d.code_unit_id, d.instr_index, d.start_offset
  FROM records.code_objects_instructions d
  JOIN records.code_objects_instructions s ON s.code_unit_id = d.code_unit_id AND s.end_offset = d.start_offset
    AND s.argval_str = d.argval_str
  WHERE d.opname IN ('DELETE_FAST', 'DELETE_NAME', 'DELETE_GLOBAL', 'DELETE_DEREF') AND s.opname LIKE 'STORE_%'
    AND (s.span_start_line0 IS NOT DISTINCT FROM d.span_start_line0) AND (s.span_start_col IS NOT DISTINCT FROM d.span_start_col)
)
