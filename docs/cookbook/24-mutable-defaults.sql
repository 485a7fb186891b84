-- Which functions have a default that all calls share and may change?
SELECT m.repo, m.path, m.line_number, v.opname
FROM py_bc_instructions m
JOIN py_bc_dfg_edges t ON t.code_unit_id = m.code_unit_id AND t.dst_instr_index = m.instr_index AND t.operand_index = 0 AND t.kind = 'USE_STACK'
JOIN py_bc_dfg_edges d ON d.code_unit_id = t.code_unit_id AND d.dst_instr_index = t.src_instr_index AND d.kind = 'USE_STACK'
JOIN py_bc_instructions v ON v.code_unit_id = d.code_unit_id AND v.instr_index = d.src_instr_index
WHERE m.opname = 'SET_FUNCTION_ATTRIBUTE' AND m.arg IN (1, 2) AND v.opname IN ('BUILD_LIST', 'BUILD_MAP', 'BUILD_SET')
ORDER BY m.repo, m.path, m.line_number
