WITH modules AS (
  -- What the statement says of level and names are constants.
  SELECT i.code_unit_id, i.instr_index, i.argval_str AS module, CAST(l.argval_int AS INT) AS level, n.argval_str AS names
  FROM records.code_objects_instructions i
  JOIN records.code_objects_dfg_edges el ON el.code_unit_id = i.code_unit_id AND el.dst_instr_index = i.instr_index
  JOIN records.code_objects_instructions l ON l.code_unit_id = el.code_unit_id AND l.instr_index = el.src_instr_index
  JOIN records.code_objects_dfg_edges en ON en.code_unit_id = i.code_unit_id AND en.dst_instr_index = i.instr_index
  JOIN records.code_objects_instructions n ON n.code_unit_id = en.code_unit_id AND n.instr_index = en.src_instr_index
  WHERE i.opname = 'IMPORT_NAME' AND el.kind = 'USE_STACK' AND el.operand_index = 0 AND en.kind = 'USE_STACK' AND en.operand_index = 1
), stores AS (
  -- The variable that takes what was imported.
  SELECT e.code_unit_id, e.src_instr_index, min(v.symbol) AS symbol
  FROM records.code_objects_instructions i
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = i.code_unit_id AND e.src_instr_index = i.instr_index
  JOIN records.code_objects_def_use_events v ON v.code_unit_id = e.code_unit_id AND v.instr_index = e.dst_instr_index
  WHERE i.opname IN ('IMPORT_NAME', 'IMPORT_FROM') AND e.kind = 'USE_STACK' AND v.kind = 'define'
  GROUP BY e.code_unit_id, e.src_instr_index
), members AS (
  -- The statement that each member is of: `import a.b.c as d` walks from `a` to `c` by IMPORT_FROM, and stores only that.
  SELECT i.*, s.symbol,
    max(CASE WHEN i.opname = 'IMPORT_NAME' THEN i.instr_index END) OVER (PARTITION BY i.code_unit_id ORDER BY i.instr_index) AS statement
  FROM records.code_objects_instructions i
  LEFT JOIN stores s ON s.code_unit_id = i.code_unit_id AND s.src_instr_index = i.instr_index
  WHERE i.opname IN ('IMPORT_NAME', 'IMPORT_FROM')
)
SELECT i.repo, i.file_id, i.path, i.code_unit_id, i.instr_index, i."offset",
  CASE WHEN m.names IS NULL THEN 'import' ELSE 'from' END AS statement,
  m.module, m.level, m.level > 0 AS is_relative,
  CASE WHEN m.names IS NULL THEN NULL WHEN i.opname = 'IMPORT_NAME' THEN '*' ELSE i.argval_str END AS name,
  i.symbol AS bound_as,
  i.line_number, i.span_start_line0 AS pos_start_line, i.span_start_col AS pos_start_col, i.span_end_line0 AS pos_end_line,
    i.span_end_col AS pos_end_col
FROM members i
JOIN modules m ON m.code_unit_id = i.code_unit_id AND m.instr_index = i.statement
WHERE (m.names IS NULL AND i.symbol IS NOT NULL) OR (m.names IS NOT NULL AND i.opname = 'IMPORT_FROM')
  OR (m.names = '(''*'',)' AND i.opname = 'IMPORT_NAME')
