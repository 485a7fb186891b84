-- Which awaits stand in a loop, one after the other instead of together?
SELECT a.repo, a.path, a.line_number, a.awaited, b.loop_depth
FROM py_bc_awaits a
JOIN py_bc_instructions i ON i.code_unit_id = a.code_unit_id AND i.instr_index = a.instr_index
JOIN py_bc_blocks b ON b.code_unit_id = i.code_unit_id AND b.block_index = i.block_index
WHERE a.kind = 'await' AND b.loop_depth > 0
ORDER BY a.repo, a.path, a.line_number
