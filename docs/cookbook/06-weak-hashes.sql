-- How many weak hashes does each repository make?
SELECT c.repo, coalesce(a.value, c.callee) AS hash, count(*) AS calls
FROM py_bc_calls c
LEFT JOIN py_bc_call_arguments a ON a.code_unit_id = c.code_unit_id AND a.instr_index = c.instr_index AND c.callee = 'hashlib.new' AND a.position = 0
WHERE c.callee IN ('hashlib.md5', 'hashlib.sha1') OR a.value IN ('''md5''', '''sha1''')
GROUP BY c.repo, coalesce(a.value, c.callee)
ORDER BY c.repo, hash
