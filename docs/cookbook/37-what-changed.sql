-- Which functions differ between two versions? By instructions and qualified name, since lines move.
WITH functions AS (
  SELECT u.repo, u.path, u.co_qualname, string_agg(i.opname || ' ' || coalesce(i.argrepr, ''), '\n' ORDER BY i.instr_index) AS code
  FROM py_bc_code_units u JOIN py_bc_instructions i USING (code_unit_id)
  WHERE u.unit_kind = 'function'
  GROUP BY u.repo, u.path, u.co_qualname
)
SELECT coalesce(a.path, b.path) AS path, coalesce(a.co_qualname, b.co_qualname) AS function,
  CASE WHEN a.code IS NULL THEN 'new' WHEN b.code IS NULL THEN 'gone' ELSE 'changed' END AS change
FROM (SELECT * FROM functions WHERE repo = 'lib-1.0') a
FULL JOIN (SELECT * FROM functions WHERE repo = 'lib-1.1') b ON b.path = a.path AND b.co_qualname = a.co_qualname
WHERE a.code IS DISTINCT FROM b.code
ORDER BY path, function
