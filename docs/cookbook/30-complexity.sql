-- Which functions have the most ways through them? Edges without exceptions and one of each exit, less blocks, plus 1.
SELECT u.repo, u.path, u.co_qualname, e.edges - b.blocks + b.exits + 1 AS complexity
FROM py_bc_code_units u
JOIN (SELECT code_unit_id, count(*) AS blocks, sum(CASE WHEN is_exit THEN 1 ELSE 0 END) AS exits
  FROM py_bc_blocks WHERE kind <> 'handler' AND is_reachable GROUP BY code_unit_id) b USING (code_unit_id)
JOIN (SELECT e.code_unit_id, count(*) AS edges
  FROM py_bc_cfg_edges e
  JOIN py_bc_blocks s ON s.code_unit_id = e.code_unit_id AND s.start_offset = e.src_block_start
  WHERE e.kind <> 'exc' AND s.kind <> 'handler' AND s.is_reachable GROUP BY e.code_unit_id) e USING (code_unit_id)
ORDER BY complexity DESC, u.repo, u.path, u.co_qualname LIMIT 5
