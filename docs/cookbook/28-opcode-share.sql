-- Which share has each opcode in a repository?
SELECT repo, opname, round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY repo), 1) AS percent
FROM py_bc_instructions
WHERE repo = 'web'
GROUP BY repo, opname
ORDER BY percent DESC, opname LIMIT 5
