-- Where is the text of a statement put together, instead of being passed with parameters?
SELECT a.repo, a.path, a.line_number, i.opname
FROM py_bc_call_arguments a
JOIN py_bc_calls c ON c.code_unit_id = a.code_unit_id AND c.instr_index = a.instr_index
JOIN py_bc_instructions i ON i.code_unit_id = a.code_unit_id AND i.instr_index = a.value_instr_index
WHERE c.callee_name IN ('execute', 'executemany', 'executescript') AND a.position = 0 AND i.opname IN ('BUILD_STRING', 'BINARY_OP')
ORDER BY a.repo, a.path, a.line_number
