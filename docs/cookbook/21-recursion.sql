-- Which functions call themselves?
SELECT u.repo, u.path, u.co_qualname, c.line_number
FROM py_bc_calls c JOIN py_bc_code_units u USING (code_unit_id)
WHERE c.callee = u.co_name AND c.base_kind = 'global'
ORDER BY u.repo, u.path, c.line_number
