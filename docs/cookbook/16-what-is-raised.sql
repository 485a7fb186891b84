-- Which exceptions are raised by calling their class?
SELECT c.callee, count(*) AS raised
FROM py_bc_instructions r
JOIN py_bc_dfg_edges e ON e.code_unit_id = r.code_unit_id AND e.dst_instr_index = r.instr_index AND e.operand_index = 0 AND e.kind = 'USE_STACK'
JOIN py_bc_calls c ON c.code_unit_id = e.code_unit_id AND c.instr_index = e.src_instr_index
WHERE r.opname = 'RAISE_VARARGS'
GROUP BY c.callee
ORDER BY raised DESC, c.callee
