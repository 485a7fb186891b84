-- Which code is compiled and can never run?
SELECT u.repo, u.path, u.co_qualname, min(i.line_number) AS first_line, count(*) AS instructions
FROM py_bc_blocks b
JOIN py_bc_code_units u USING (code_unit_id)
JOIN py_bc_instructions i ON i.code_unit_id = b.code_unit_id AND i.block_index = b.block_index
WHERE NOT b.is_reachable
GROUP BY u.repo, u.path, u.co_qualname
ORDER BY u.repo, u.path, u.co_qualname
