-- Where is text run as code? By data flow: a local variable named `exec` is none.
SELECT c.repo, c.path, c.line_number, c.callee
FROM py_bc_calls c
WHERE c.callee IN ('eval', 'exec', 'builtins.eval', 'builtins.exec') AND c.base_kind IN ('global', 'name')
ORDER BY c.repo, c.path, c.line_number
