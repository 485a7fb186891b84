-- Which functions of a repository are called from most places in it, by their name or as a method of `self`?
SELECT u.repo, u.co_name, count(DISTINCT c.instr_id) AS calls
FROM py_bc_code_units u
JOIN py_bc_calls c ON c.repo = u.repo AND c.callee_name = u.co_name AND c.callee IN (u.co_name, 'self.' || u.co_name)
WHERE u.unit_kind = 'function'
GROUP BY u.repo, u.co_name
ORDER BY calls DESC, u.repo, u.co_name
