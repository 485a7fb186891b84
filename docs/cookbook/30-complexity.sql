-- Which functions have the most conditional jumps, plus one? As compiled: a `while` tests twice, an `except` clause once; `with` and `await` jump too and are left out.
SELECT u.repo, u.path, u.co_qualname, 1 + count(*) AS complexity
FROM py_bc_code_units u
JOIN py_bc_cfg_edges e USING (code_unit_id)
JOIN py_bc_instructions i ON i.code_unit_id = e.code_unit_id AND i.instr_index = e.cond_instr_index
LEFT JOIN py_bc_instructions w ON w.code_unit_id = i.code_unit_id AND w.instr_index = i.instr_index - 2 AND w.opname = 'WITH_EXCEPT_START'
WHERE u.unit_kind = 'function' AND e.kind = 'branch' AND i.stack_depth_before IS NOT NULL
  AND (i.opname LIKE 'POP_JUMP_IF_%' OR i.opname = 'FOR_ITER') AND w.opname IS NULL
GROUP BY u.repo, u.path, u.co_qualname, u.code_unit_id
ORDER BY complexity DESC, u.repo, u.path, u.co_qualname LIMIT 5
