-- Which attributes of `self` are made outside `__init__`?
SELECT a.repo, a.path, u.co_qualname, a.attribute
FROM py_bc_attributes a JOIN py_bc_code_units u USING (code_unit_id)
WHERE a.access = 'write' AND a.object = 'self' AND u.co_name <> '__init__'
  AND NOT EXISTS (SELECT 1 FROM py_bc_attributes b JOIN py_bc_code_units i ON i.code_unit_id = b.code_unit_id
    WHERE i.co_name = '__init__' AND i.parent_code_unit_id = u.parent_code_unit_id AND b.access = 'write' AND b.dotted = a.dotted)
ORDER BY a.repo, a.path, a.line_number
