-- Which commands go through a shell?
SELECT c.repo, c.path, c.line_number, c.callee
FROM py_bc_calls c
LEFT JOIN py_bc_call_arguments a ON a.code_unit_id = c.code_unit_id AND a.instr_index = c.instr_index AND a.keyword = 'shell'
WHERE (c.callee LIKE 'subprocess.%' AND a.value = 'True') OR c.callee IN ('os.system', 'os.popen')
ORDER BY c.repo, c.path, c.line_number
