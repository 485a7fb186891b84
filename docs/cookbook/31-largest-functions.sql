-- Which functions have the most code?
SELECT repo, path, co_qualname, code_len
FROM py_bc_code_units
WHERE unit_kind = 'function'
ORDER BY code_len DESC, repo, path, co_qualname LIMIT 5
