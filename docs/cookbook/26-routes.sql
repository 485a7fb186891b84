-- Which functions answer which paths of a web application?
SELECT d.repo, d.path, u.co_name, a.value AS route
FROM py_bc_decorators d
JOIN py_bc_code_units u ON u.code_unit_id = d.decorated_code_unit_id
JOIN py_bc_call_arguments a ON a.code_unit_id = d.code_unit_id AND a.callee = d.decorator AND a.pos_start_line = d.pos_start_line
WHERE d.decorator LIKE '%.route' AND a.position = 0
ORDER BY d.repo, d.path, route
