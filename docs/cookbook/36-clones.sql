-- Which functions are the same code in the same lines? Without lines: compare instructions, as in what-changed.
SELECT a.co_qualname, a.repo || '/' || a.path AS here, b.repo || '/' || b.path AS there
FROM py_bc_code_units a
JOIN py_bc_code_units b ON b.facts_digest = a.facts_digest AND (a.repo || '/' || a.path) < (b.repo || '/' || b.path)
WHERE a.unit_kind = 'function'
ORDER BY a.co_qualname, here, there
