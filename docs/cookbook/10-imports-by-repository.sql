-- Which modules does each repository import, and in how many files?
SELECT repo, split_part(module, '.', 1) AS package, count(DISTINCT path) AS files
FROM py_bc_imports
WHERE NOT is_relative
GROUP BY repo, split_part(module, '.', 1)
ORDER BY repo, package
