WITH applied AS (
  -- A call without arguments that has the decorated thing where a method has its object.
  SELECT i.code_unit_id, i.instr_index, min(CASE WHEN e.operand_index = 0 THEN e.src_instr_index END) AS decorator_src,
    min(CASE WHEN e.operand_index = 1 THEN e.src_instr_index END) AS decorated_src, count(*) AS producers
  FROM records.code_objects_instructions i
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = i.code_unit_id AND e.dst_instr_index = i.instr_index
  WHERE i.opname = 'CALL' AND i.arg = 0 AND e.kind = 'USE_STACK'
  GROUP BY i.code_unit_id, i.instr_index
), decorators AS (
  SELECT i.repo, i.file_id, i.path, i.code_unit_id, i.instr_index, i."offset", i.line_number,
    i.span_start_line0, i.span_start_col, i.span_end_line0, i.span_end_col, a.decorator_src, a.decorated_src, a.producers,
      {producer_kind} AS kind, {variable} AS name,
    d.opname AS decorated_opname, d.span_start_line0 AS d0, d.span_start_col AS d1, d.span_end_line0 AS d2, d.span_end_col AS d3,
    coalesce(a.decorated_src = lag(i.instr_index) OVER (PARTITION BY i.code_unit_id ORDER BY i.instr_index), false) AS is_next
  FROM applied a
  JOIN (SELECT *, stack_depth_before - pops AS slot FROM records.code_objects_instructions) i ON i.code_unit_id = a.code_unit_id
    AND i.instr_index = a.instr_index
  JOIN records.code_objects_instructions p ON p.code_unit_id = a.code_unit_id AND p.instr_index = a.decorator_src
  JOIN records.code_objects_instructions d ON d.code_unit_id = a.code_unit_id AND d.instr_index = a.decorated_src
  WHERE a.decorated_src <> a.decorator_src AND p.opname <> 'LOAD_ASSERTION_ERROR'
    AND d.opname IN ('MAKE_FUNCTION', 'SET_FUNCTION_ATTRIBUTE', 'CALL', 'CALL_KW', 'CALL_FUNCTION_EX')
), ordered AS (
  SELECT *, max(CASE WHEN is_next THEN NULL ELSE instr_index END) OVER (PARTITION BY code_unit_id ORDER BY instr_index) AS first
  FROM decorators
), bodies AS (
  -- The code of what is decorated has the place of the whole statement, as what makes a function or class of it.
  SELECT f.code_unit_id, f.instr_index, max(x.instr_index) AS body
  FROM ordered f
  JOIN records.code_objects_instructions x ON x.code_unit_id = f.code_unit_id AND x.span_start_line0 = f.d0
    AND x.span_start_col = f.d1 AND x.span_end_line0 = f.d2 AND x.span_end_col = f.d3
  WHERE NOT f.is_next AND x.opname = 'LOAD_CONST' AND x.argrepr LIKE '<code object %' AND x.instr_index < f.instr_index
  GROUP BY f.code_unit_id, f.instr_index
)
SELECT o.repo, o.file_id, o.path, o.code_unit_id, o.instr_index, o."offset",
  CASE WHEN o.producers > 2 THEN NULL ELSE coalesce(t.dotted, c.callee, o.name) END AS decorator,
  o.kind = 'call' AS is_call,
  CAST(row_number() OVER (PARTITION BY o.code_unit_id, o.first ORDER BY o.instr_index) - 1 AS INT) AS nth,
  u.child_code_unit_id AS decorated_code_unit_id,
  o.line_number, o.span_start_line0 AS pos_start_line, o.span_start_col AS pos_start_col, o.span_end_line0 AS pos_end_line,
    o.span_end_col AS pos_end_col
FROM ordered o
LEFT JOIN bodies b ON b.code_unit_id = o.code_unit_id AND b.instr_index = o.first
LEFT JOIN records.code_objects_instructions x ON x.code_unit_id = b.code_unit_id AND x.instr_index = b.body
LEFT JOIN records.code_objects_consts u ON u.code_unit_id = x.code_unit_id AND u.const_index = x.arg
LEFT JOIN py_bc_attributes t ON t.code_unit_id = o.code_unit_id AND t.instr_index = o.decorator_src
LEFT JOIN py_bc_calls c ON c.code_unit_id = o.code_unit_id AND c.instr_index = o.decorator_src
