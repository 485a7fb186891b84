-- Which functions have more than five parameters?
SELECT n.repo, n.path, u.co_qualname, count(*) AS parameters
FROM py_bc_names n JOIN py_bc_code_units u USING (code_unit_id)
WHERE n.access = 'parameter'
GROUP BY n.repo, n.path, u.co_qualname
HAVING count(*) > 5
ORDER BY parameters DESC, n.repo, n.path
