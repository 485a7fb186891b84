-- Which handlers drop what they catch?
SELECT h.repo, h.path, h.line_number, u.co_qualname, h.caught, h.is_empty
FROM py_bc_handlers h JOIN py_bc_code_units u USING (code_unit_id)
WHERE h.drops
ORDER BY h.repo, h.path, h.line_number
