WITH restored AS (
  -- What a comprehension borrows a variable for and puts back is no access, and neither is the clearing of a handler's variable.
  SELECT e.code_unit_id, e.dst_instr_index, e.operand_index, p.opname, p.argrepr
  FROM records.code_objects_instructions p
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = p.code_unit_id AND e.src_instr_index = p.instr_index
  WHERE e.kind = 'USE_STACK' AND (p.opname = 'LOAD_FAST_AND_CLEAR' OR (p.opname = 'LOAD_CONST' AND (p.argrepr = 'None'
    OR p.argrepr LIKE '''%' OR p.argrepr LIKE '"%')))
), closures AS (
  -- A slot that holds a cell is loaded to hand the cell to a function, not to read the variable.
  SELECT e.code_unit_id, e.dst_instr_index, e.operand_index
  FROM records.code_objects_instructions p
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = p.code_unit_id AND e.src_instr_index = p.instr_index
  WHERE e.kind = 'USE_LOCAL' AND p.opname IN ('MAKE_CELL', 'COPY_FREE_VARS')
), added AS (
  -- `super()` loads the class and the first argument, and an annotation `__annotations__`; they have the place of the whole.
  SELECT DISTINCT code_unit_id, span_start_line0, span_start_col, span_end_col
  FROM records.code_objects_instructions
  WHERE opname = 'STORE_SUBSCR' OR (opname = 'LOAD_DEREF' AND argval_str = '__class__' AND span_end_col - span_start_col <> 9)
), {cleared}, accesses AS (
  SELECT v.repo, v.file_id, v.path, v.code_unit_id, v.unit_kind, v.kind, v.namespace, v.symbol, i.instr_index, i."offset",
    i.end_offset, i.opname,
    i.line_number, i.argval_str, i.span_start_line0, i.span_start_col, i.span_end_line0, i.span_end_col,
    -- Of a pair the first has the place; equal names are told apart by the order of their events.
    CASE
      WHEN i.opname = 'STORE_FAST_LOAD_FAST' THEN v.kind = 'use'
      WHEN i.opname IN ('LOAD_FAST_LOAD_FAST', 'STORE_FAST_STORE_FAST') THEN coalesce(v.event_index > f.event_index, false)
      ELSE false END AS is_second
  FROM records.code_objects_def_use_events v
  LEFT JOIN records.code_objects_instructions i ON i.code_unit_id = v.code_unit_id AND i.instr_index = v.instr_index
  LEFT JOIN (SELECT code_unit_id, instr_index, min(event_index) AS event_index FROM records.code_objects_def_use_events
    WHERE instr_index IS NOT NULL GROUP BY code_unit_id, instr_index HAVING count(*) > 1) f
    ON f.code_unit_id = v.code_unit_id AND f.instr_index = v.instr_index
), seen AS (
  SELECT a.*,
    c.code_unit_id IS NOT NULL OR t.code_unit_id IS NOT NULL OR x.code_unit_id IS NOT NULL OR y.code_unit_id IS NOT NULL
      AS is_hidden,
    r.opname AS restored_from, r.argrepr AS constant,
    a.span_start_line0 = a.span_end_line0 AND NOT a.is_second AND (a.span_end_col - a.span_start_col = octet_length(a.symbol)
      OR (a.symbol LIKE '\_%\_\_%' AND a.span_end_col - a.span_start_col < octet_length(a.symbol) AND a.span_end_col - a.span_start_col > 2
        AND right(a.symbol, CAST(a.span_end_col - a.span_start_col AS BIGINT)) LIKE '\_\_%')) AS is_name
  FROM accesses a
  LEFT JOIN closures c ON c.code_unit_id = a.code_unit_id AND c.dst_instr_index = a.instr_index
    AND c.operand_index = CASE WHEN a.is_second AND a.opname = 'LOAD_FAST_LOAD_FAST' THEN 1 ELSE 0 END AND a.kind = 'use'
      AND a.namespace = 'local'
  LEFT JOIN added t ON t.code_unit_id = a.code_unit_id AND t.span_start_line0 = a.span_start_line0 AND t.span_start_col = a.span_start_col
    AND t.span_end_col = a.span_end_col
  LEFT JOIN cleared x ON x.code_unit_id = a.code_unit_id AND x.instr_index = a.instr_index
  LEFT JOIN cleared y ON y.code_unit_id = a.code_unit_id AND y.start_offset = a.end_offset AND a.kind = 'define'
  LEFT JOIN restored r ON r.code_unit_id = a.code_unit_id AND r.dst_instr_index = a.instr_index
    AND r.operand_index = CASE WHEN a.opname = 'STORE_FAST_STORE_FAST' AND NOT a.is_second THEN 1 ELSE 0 END AND a.kind = 'define'
)
SELECT s.repo, s.file_id, s.path, s.code_unit_id, s.instr_index, s."offset", s.symbol AS name,
  CASE WHEN s.instr_index IS NULL THEN 'parameter' WHEN s.kind = 'define' THEN 'write' WHEN s.kind = 'use'
    THEN 'read' ELSE 'delete' END AS access,
  CASE
    WHEN s.namespace = 'cell' THEN CASE WHEN array_has(u.freevars, s.symbol) THEN 'free' ELSE 'cell' END
    WHEN s.namespace = 'name' THEN CASE WHEN s.unit_kind = 'class' THEN 'class' ELSE 'global' END
    ELSE s.namespace END AS scope,
  s.line_number,
  CASE WHEN is_name THEN s.span_start_line0 END AS pos_start_line, CASE WHEN is_name THEN s.span_start_col END AS pos_start_col,
  CASE WHEN is_name THEN s.span_end_line0 END AS pos_end_line, CASE WHEN is_name THEN s.span_end_col END AS pos_end_col
FROM seen s
JOIN records.code_objects u ON u.code_unit_id = s.code_unit_id
WHERE s.symbol NOT LIKE '.%' AND NOT s.is_hidden AND s.kind <> 'capture'
  AND coalesce(s.opname NOT IN ('LOAD_FAST_AND_CLEAR', 'MAKE_CELL', 'COPY_FREE_VARS'), true)
  AND coalesce(s.restored_from <> 'LOAD_FAST_AND_CLEAR', true)
  AND s.symbol NOT IN ('__static_attributes__', '__classcell__', '__classdictcell__', '__classdict__')
  AND (s.instr_index IS NULL OR coalesce(s.is_name, false) OR s.is_second OR (s.kind = 'define' AND s.span_start_line0 IS NOT NULL
    AND coalesce(s.constant <> 'None', true) AND NOT (s.symbol = '__doc__' AND s.constant IS NOT NULL)
    AND s.symbol NOT IN ('__module__', '__qualname__', '__firstlineno__', '__type_params__')))
