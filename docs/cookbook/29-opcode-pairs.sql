-- Which opcodes follow one another most often?
SELECT a.opname AS first, b.opname AS second, count(*) AS pairs
FROM py_bc_instructions a
JOIN py_bc_instructions b ON b.code_unit_id = a.code_unit_id AND b.instr_index = a.instr_index + 1 AND b.block_index = a.block_index
GROUP BY a.opname, b.opname
ORDER BY pairs DESC, first, second LIMIT 5
