-- Which requests may wait for ever?
SELECT c.repo, c.path, c.line_number, c.callee
FROM py_bc_calls c
LEFT JOIN py_bc_call_arguments a ON a.code_unit_id = c.code_unit_id AND a.instr_index = c.instr_index AND a.keyword = 'timeout'
WHERE c.callee IN ('requests.get', 'requests.post', 'requests.put', 'requests.delete', 'requests.request') AND a.keyword IS NULL
ORDER BY c.repo, c.path, c.line_number
