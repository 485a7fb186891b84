-- Which imported names does nothing in their file read, in whatever scope? Without `__init__.py`, whose imports are for others; `__all__` is not looked at.
SELECT i.repo, i.path, i.line_number, i.bound_as
FROM py_bc_imports i
LEFT JOIN (SELECT DISTINCT file_id, name FROM py_bc_names WHERE access = 'read') n ON n.file_id = i.file_id AND n.name = i.bound_as
WHERE i.bound_as IS NOT NULL AND n.name IS NULL AND i.path NOT LIKE '%__init__.py'
ORDER BY i.repo, i.path, i.line_number
