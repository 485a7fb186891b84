WITH waits AS (
  SELECT i.code_unit_id, i.instr_index, i.stack_depth_before - i.pops AS own_slot, min(e.src_instr_index) AS src, count(*) AS producers
  FROM records.code_objects_instructions i
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = i.code_unit_id AND e.dst_instr_index = i.instr_index
  WHERE ((i.opname = 'GET_AWAITABLE' AND i.arg = 0) OR i.opname IN ('BEFORE_ASYNC_WITH', 'GET_AITER'))
    AND e.kind = 'USE_STACK' AND e.operand_index = 0
  GROUP BY i.code_unit_id, i.instr_index, i.stack_depth_before, i.pops
), named AS (
  -- Of a call it is what is called that has a name.
  SELECT w.code_unit_id, w.instr_index, max(w.producers) AS producers, p.opname,
    CASE WHEN count(c.src_instr_index) = 0 THEN w.own_slot ELSE p.stack_depth_before - p.pops END AS slot,
    {producer_kind} AS awaited_kind, coalesce(min(c.src_instr_index), w.src) AS src, count(c.src_instr_index) AS callees
  FROM waits w
  JOIN records.code_objects_instructions p ON p.code_unit_id = w.code_unit_id AND p.instr_index = w.src
  LEFT JOIN records.code_objects_dfg_edges c ON c.code_unit_id = p.code_unit_id AND c.dst_instr_index = p.instr_index
    AND c.kind = 'USE_STACK' AND c.operand_index = 0 AND p.opname IN ('CALL', 'CALL_KW', 'CALL_FUNCTION_EX')
  GROUP BY w.code_unit_id, w.instr_index, w.src, w.own_slot, p.opname, p.stack_depth_before, p.pops
)
SELECT i.repo, i.file_id, i.path, i.code_unit_id, i.instr_index, i."offset",
  CASE i.opname WHEN 'GET_AWAITABLE' THEN 'await' WHEN 'GET_AITER' THEN 'async for' ELSE 'async with' END AS kind,
  CASE WHEN n.producers > 1 OR n.callees > 1 THEN NULL ELSE coalesce(t.dotted, {variable}) END AS awaited,
  CASE WHEN n.producers > 1 THEN 'several' ELSE n.awaited_kind END AS awaited_kind,
  i.line_number, i.span_start_line0 AS pos_start_line, i.span_start_col AS pos_start_col, i.span_end_line0 AS pos_end_line,
  i.span_end_col AS pos_end_col
FROM named n
JOIN records.code_objects_instructions i ON i.code_unit_id = n.code_unit_id AND i.instr_index = n.instr_index
JOIN records.code_objects_instructions p ON p.code_unit_id = n.code_unit_id AND p.instr_index = n.src
LEFT JOIN py_bc_attributes t ON t.code_unit_id = n.code_unit_id AND t.instr_index = n.src
