-- Which exceptions are caught how often?
SELECT coalesce(caught, 'all') AS caught, count(*) AS handlers
FROM py_bc_handlers
GROUP BY caught
ORDER BY handlers DESC, caught
