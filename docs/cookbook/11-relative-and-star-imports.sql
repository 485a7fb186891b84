-- Which imports are relative, or take everything?
SELECT repo, path, line_number, repeat('.', CAST(level AS BIGINT)) || module AS module, name
FROM py_bc_imports
WHERE is_relative OR name = '*'
ORDER BY repo, path, line_number, name
