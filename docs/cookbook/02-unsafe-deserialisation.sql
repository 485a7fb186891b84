-- Where are objects made of bytes or text that anybody may have written? `yaml.load` with a safe loader is none.
SELECT c.repo, c.path, c.line_number, c.callee
FROM py_bc_calls c
LEFT JOIN py_bc_call_arguments a ON a.code_unit_id = c.code_unit_id AND a.instr_index = c.instr_index AND a.keyword = 'Loader'
LEFT JOIN py_bc_attributes l ON l.code_unit_id = a.code_unit_id AND l.instr_index = a.value_instr_index
WHERE c.callee IN ('pickle.load', 'pickle.loads', 'marshal.load', 'marshal.loads', 'shelve.open')
  OR (c.callee IN ('yaml.load', 'yaml.load_all') AND coalesce(l.attribute, '') NOT IN ('SafeLoader', 'CSafeLoader', 'BaseLoader'))
ORDER BY c.repo, c.path, c.line_number
