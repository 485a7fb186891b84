-- Which numbers are compared with, other than 0 and 1?
SELECT c.repo, c.path, c.line_number, c.number
FROM py_bc_constants c
JOIN py_bc_dfg_edges e ON e.code_unit_id = c.code_unit_id AND e.src_instr_index = c.instr_index AND e.kind = 'USE_STACK'
JOIN py_bc_instructions i ON i.code_unit_id = e.code_unit_id AND i.instr_index = e.dst_instr_index
WHERE i.opname = 'COMPARE_OP' AND c.number NOT IN (0, 1)
ORDER BY c.repo, c.path, c.line_number, c.number
