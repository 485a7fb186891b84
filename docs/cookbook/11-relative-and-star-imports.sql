-- Which imports are relative, or take everything?
SELECT repo, path, line_number, level, module, name
FROM py_bc_imports
WHERE is_relative OR name = '*'
ORDER BY repo, path, line_number, name
