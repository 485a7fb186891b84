-- Which local variables are written and never read after that?
SELECT n.repo, n.path, n.line_number, n.name
FROM py_bc_names n
JOIN py_bc_code_units u USING (code_unit_id)
LEFT JOIN (SELECT DISTINCT code_unit_id, def_instr_index, symbol FROM py_bc_reaches) r
  ON r.code_unit_id = n.code_unit_id AND r.def_instr_index = n.instr_index AND r.symbol = n.name
WHERE n.access = 'write' AND n.scope = 'local' AND u.unit_kind = 'function' AND r.symbol IS NULL AND n.name NOT LIKE '\_%'
ORDER BY n.repo, n.path, n.line_number, n.name
