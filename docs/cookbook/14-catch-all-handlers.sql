-- Which handlers catch everything, and do they raise again?
SELECT repo, path, line_number, is_bare, coalesce(caught, 'all') AS caught, reraises
FROM py_bc_handlers
WHERE catches_all
ORDER BY repo, path, line_number
