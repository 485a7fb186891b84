WITH uses AS (
  -- What is done with an exception that was caught. All that a handler does with it itself has the place of the handler.
  SELECT d.repo, d.file_id, d.path, d.code_unit_id, d.span_start_line0, d.span_start_col, d.span_end_line0, d.span_end_col,
    min(CASE WHEN d.opname IN ('CHECK_EXC_MATCH', 'CHECK_EG_MATCH') THEN d.instr_index END) AS test,
    bool_or(d.opname = 'CHECK_EG_MATCH') AS is_group,
    min(CASE WHEN d.opname = 'POP_TOP' THEN d.instr_index END) AS pop,
    bool_or(d.opname = 'WITH_EXCEPT_START') AS is_with,
    min(CASE WHEN d.opname LIKE 'STORE_%' THEN d.instr_index END) AS store
  FROM records.code_objects_instructions s
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = s.code_unit_id AND e.src_instr_index = s.instr_index
  JOIN records.code_objects_instructions d ON d.code_unit_id = e.code_unit_id AND d.instr_index = e.dst_instr_index
  WHERE s.opname IN ('PUSH_EXC_INFO', 'CHECK_EG_MATCH') AND e.kind = 'USE_STACK' AND d.span_start_line0 IS NOT NULL
    AND d.opname IN ('CHECK_EXC_MATCH', 'CHECK_EG_MATCH', 'POP_TOP', 'WITH_EXCEPT_START', 'STORE_FAST', 'STORE_NAME', 'STORE_GLOBAL',
      'STORE_DEREF', 'STORE_FAST_LOAD_FAST', 'STORE_FAST_STORE_FAST')
  GROUP BY d.repo, d.file_id, d.path, d.code_unit_id, d.span_start_line0, d.span_start_col, d.span_end_line0, d.span_end_col
), handlers AS (
  -- Without a test it is `except:`, unless the exception is dropped by `with`, or by a `return`, `break` or `continue` in `finally`: that
  -- is the place of the statement, and what comes next has it too.
  SELECT h.*, coalesce(h.test, h.pop) AS instr_index, i."offset", i.line_number,
    CASE WHEN s.opname IN ('STORE_FAST_LOAD_FAST', 'STORE_FAST_STORE_FAST') THEN split_part(s.argval_str, '''',
      2) ELSE s.argval_str END AS bound_as
  FROM uses h
  JOIN records.code_objects_instructions i ON i.code_unit_id = h.code_unit_id AND i.instr_index = coalesce(h.test, h.pop)
  LEFT JOIN records.code_objects_instructions n ON n.code_unit_id = i.code_unit_id AND n.start_offset = i.end_offset
  LEFT JOIN records.code_objects_instructions s ON s.code_unit_id = h.code_unit_id AND s.instr_index = h.store
  WHERE h.test IS NOT NULL OR (h.pop IS NOT NULL AND NOT h.is_with
    AND NOT (n.span_start_line0 = h.span_start_line0 AND n.span_start_col = h.span_start_col AND n.span_end_line0 = h.span_end_line0
      AND n.span_end_col = h.span_end_col))
), types AS (
  -- What the test compares with: a class, or a tuple of them.
  SELECT i.code_unit_id, i.instr_index, coalesce(m.operand_index, 0) AS nth, coalesce(m.src_instr_index, e.src_instr_index) AS src,
    t.span_end_line0 AS end_line, t.span_end_col AS end_col,
    coalesce(t.stack_depth_before - t.pops + m.operand_index, i.stack_depth_before - i.pops + e.operand_index) AS slot
  FROM records.code_objects_instructions i
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = i.code_unit_id AND e.dst_instr_index = i.instr_index
  JOIN records.code_objects_instructions t ON t.code_unit_id = e.code_unit_id AND t.instr_index = e.src_instr_index
  LEFT JOIN records.code_objects_dfg_edges m ON m.code_unit_id = t.code_unit_id AND m.dst_instr_index = t.instr_index
    AND m.kind = 'USE_STACK' AND t.opname = 'BUILD_TUPLE'
  WHERE i.opname IN ('CHECK_EXC_MATCH', 'CHECK_EG_MATCH') AND e.kind = 'USE_STACK'
    AND e.operand_index = CASE WHEN i.opname = 'CHECK_EG_MATCH' THEN 1 ELSE 0 END
), named AS (
  SELECT t.code_unit_id, t.instr_index, t.nth, t.end_line, t.end_col, coalesce(a.dotted, {variable}) AS name
  FROM types t
  JOIN records.code_objects_instructions p ON p.code_unit_id = t.code_unit_id AND p.instr_index = t.src
  LEFT JOIN py_bc_attributes a ON a.code_unit_id = t.code_unit_id AND a.instr_index = t.src
), caught AS (
  -- What comes from more than one place has no name.
  SELECT code_unit_id, instr_index,
    CASE WHEN count(*) = count(name) AND count(*) = count(DISTINCT nth) THEN CAST(string_agg(name, ', ' ORDER BY nth) AS VARCHAR) END
      AS names,
    count(*) = count(DISTINCT nth)
      AND bool_or(name IN ('BaseException', 'Exception', 'builtins.BaseException', 'builtins.Exception')) AS all_of_them,
    max(end_line) AS end_line, max(end_col) AS end_col
  FROM named GROUP BY code_unit_id, instr_index
), raised AS (
  SELECT i.code_unit_id, i.instr_index, i.arg, min({variable}) AS name
  FROM (SELECT *, stack_depth_before - pops AS slot FROM records.code_objects_instructions) i
  LEFT JOIN records.code_objects_dfg_edges e ON e.code_unit_id = i.code_unit_id AND e.dst_instr_index = i.instr_index
    AND e.kind = 'USE_STACK' AND e.operand_index = 0
  LEFT JOIN records.code_objects_instructions p ON p.code_unit_id = e.code_unit_id AND p.instr_index = e.src_instr_index
  WHERE i.opname = 'RAISE_VARARGS'
  GROUP BY i.code_unit_id, i.instr_index, i.arg
), {cleared}, logged AS (
  -- Calls by name, which is that of the attribute or the variable that is called.
  SELECT DISTINCT i.code_unit_id, i.instr_index
  FROM (SELECT *, stack_depth_before - pops AS slot FROM records.code_objects_instructions) i
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = i.code_unit_id AND e.dst_instr_index = i.instr_index
  JOIN records.code_objects_instructions p ON p.code_unit_id = e.code_unit_id AND p.instr_index = e.src_instr_index
  WHERE i.opname IN ('CALL', 'CALL_KW', 'CALL_FUNCTION_EX') AND e.kind = 'USE_STACK' AND e.operand_index = 0
    AND CASE WHEN p.opname IN ('LOAD_ATTR', 'LOAD_SUPER_ATTR') THEN p.argval_str ELSE {variable} END IN ({logging})
), bodies AS (
  -- The body of a handler is what lies in its place in the source, behind the classes.
  SELECT h.code_unit_id, h.instr_index,
    bool_or(b.opname = 'RAISE_VARARGS') AS raises,
    bool_or(r.arg = 0 OR r.name = h.bound_as) AS reraises,
    bool_or(b.opname LIKE 'LOAD_%' AND h.bound_as IN (b.argval_str, CASE WHEN b.opname = 'LOAD_FAST_LOAD_FAST'
      THEN split_part(b.argval_str, '''', 2) END,
        CASE WHEN b.opname = 'LOAD_FAST_LOAD_FAST' THEN split_part(b.argval_str, '''', 4) END)
      OR (b.opname = 'STORE_FAST_LOAD_FAST' AND h.bound_as = split_part(b.argval_str, '''', 4))) AS reads_exception,
    bool_or(l.instr_index IS NOT NULL) AS logs,
    bool_or(b.opname LIKE 'CALL%' OR b.opname LIKE 'YIELD%' OR b.opname LIKE 'IMPORT%' OR b.opname LIKE 'BUILD%'
      OR b.opname LIKE 'BINARY%' OR b.opname LIKE 'UNARY%'
      OR b.opname = 'RAISE_VARARGS'
      OR (b.opname LIKE 'LOAD_%' AND b.opname <> 'LOAD_CONST')
      OR ((b.opname LIKE 'STORE_%' OR b.opname LIKE 'DELETE_%') AND x.instr_index IS NULL AND y.instr_index IS NULL)) AS does_something
  FROM handlers h
  LEFT JOIN caught t ON t.code_unit_id = h.code_unit_id AND t.instr_index = h.test
  JOIN records.code_objects_instructions b ON b.code_unit_id = h.code_unit_id
  LEFT JOIN raised r ON r.code_unit_id = b.code_unit_id AND r.instr_index = b.instr_index
  LEFT JOIN cleared x ON x.code_unit_id = b.code_unit_id AND x.instr_index = b.instr_index
  LEFT JOIN cleared y ON y.code_unit_id = b.code_unit_id AND y.start_offset = b.end_offset
  LEFT JOIN logged l ON l.code_unit_id = b.code_unit_id AND l.instr_index = b.instr_index
  WHERE (t.end_line IS NULL OR b.span_start_line0 > t.end_line OR (b.span_start_line0 = t.end_line AND b.span_start_col >= t.end_col))
    AND (b.span_start_line0 > h.span_start_line0 OR (b.span_start_line0 = h.span_start_line0 AND b.span_start_col > h.span_start_col))
    AND (b.span_end_line0 < h.span_end_line0 OR (b.span_end_line0 = h.span_end_line0 AND b.span_end_col <= h.span_end_col))
  GROUP BY h.code_unit_id, h.instr_index
)
SELECT h.repo, h.file_id, h.path, h.code_unit_id, h.instr_index, h."offset",
  CASE WHEN h.is_group THEN 'except*' ELSE 'except' END AS kind,
  h.test IS NULL AS is_bare, t.names AS caught, coalesce(t.all_of_them, h.test IS NULL) AS catches_all, h.bound_as,
  coalesce(b.raises, false) AS raises, coalesce(b.reraises, false) AS reraises, coalesce(b.logs, false) AS logs,
  coalesce(b.reads_exception, false) AS reads_exception, NOT coalesce(b.does_something, false) AS is_empty,
  NOT (coalesce(b.raises, false) OR coalesce(b.logs, false) OR coalesce(b.reads_exception, false)) AS drops,
  h.line_number, h.span_start_line0 AS pos_start_line, h.span_start_col AS pos_start_col, h.span_end_line0 AS pos_end_line,
    h.span_end_col AS pos_end_col
FROM handlers h
LEFT JOIN caught t ON t.code_unit_id = h.code_unit_id AND t.instr_index = h.test
LEFT JOIN bodies b ON b.code_unit_id = h.code_unit_id AND b.instr_index = h.instr_index
