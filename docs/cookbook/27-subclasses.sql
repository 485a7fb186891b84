-- Which classes derive from `Model`, directly or not?
WITH RECURSIVE classes AS (
  SELECT b.repo, b.class_name, 1 AS depth FROM py_bc_bases b WHERE b.base = 'Model' AND b.kind = 'positional'
  UNION ALL
  SELECT b.repo, b.class_name, c.depth + 1
  FROM py_bc_bases b JOIN classes c ON b.base = c.class_name AND b.repo = c.repo
  WHERE b.kind = 'positional' AND c.depth < 20
)
SELECT repo, class_name, depth FROM classes ORDER BY repo, depth, class_name
