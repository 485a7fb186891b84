-- Which requests do not verify certificates?
SELECT repo, path, line_number, callee
FROM py_bc_call_arguments
WHERE keyword IN ('verify', 'verify_ssl') AND value IN ('False', 'None')
ORDER BY repo, path, line_number
