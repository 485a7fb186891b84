-- Which functions check by `assert`, which `-O` removes?
SELECT u.repo, u.path, u.co_qualname, count(*) AS asserts
FROM py_bc_instructions i JOIN py_bc_code_units u USING (code_unit_id)
WHERE i.opname = 'LOAD_ASSERTION_ERROR'
GROUP BY u.repo, u.path, u.co_qualname
ORDER BY u.repo, u.path, u.co_qualname
