WITH waits AS (
  SELECT i.repo, i.file_id, i.path, i.code_unit_id, i.instr_index, i."offset", i.opname, i.line_number,
    i.span_start_line0, i.span_start_col, i.span_end_line0, i.span_end_col, i.stack_depth_before - i.pops AS slot,
    min(e.src_instr_index) AS src, count(*) AS producers
  FROM records.code_objects_instructions i
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = i.code_unit_id AND e.dst_instr_index = i.instr_index
  WHERE ((i.opname = 'GET_AWAITABLE' AND i.arg = 0) OR i.opname IN ('BEFORE_ASYNC_WITH', 'GET_AITER')) AND e.kind = 'USE_STACK' AND e.operand_index = 0
  GROUP BY i.repo, i.file_id, i.path, i.code_unit_id, i.instr_index, i."offset", i.opname, i.line_number,
    i.span_start_line0, i.span_start_col, i.span_end_line0, i.span_end_col, i.stack_depth_before, i.pops
)
SELECT w.repo, w.file_id, w.path, w.code_unit_id, w.instr_index, w."offset",
  CASE w.opname WHEN 'GET_AWAITABLE' THEN 'await' WHEN 'GET_AITER' THEN 'async for' ELSE 'async with' END AS kind,
  CASE WHEN w.producers > 1 THEN NULL ELSE coalesce(t.dotted, c.callee, {variable}) END AS awaited,
  CASE WHEN w.producers > 1 THEN 'several' ELSE {producer_kind} END AS awaited_kind,
  w.line_number, w.span_start_line0 AS pos_start_line, w.span_start_col AS pos_start_col, w.span_end_line0 AS pos_end_line, w.span_end_col AS pos_end_col
FROM waits w
JOIN records.code_objects_instructions p ON p.code_unit_id = w.code_unit_id AND p.instr_index = w.src
LEFT JOIN py_bc_attributes t ON t.code_unit_id = w.code_unit_id AND t.instr_index = w.src
LEFT JOIN py_bc_calls c ON c.code_unit_id = w.code_unit_id AND c.instr_index = w.src
