-- Which functions write globals?
SELECT g.repo, g.path, u.co_qualname, g.name, g.access
FROM py_bc_global_writes g JOIN py_bc_code_units u USING (code_unit_id)
WHERE u.unit_kind = 'function'
ORDER BY g.repo, g.path, g.line_number
