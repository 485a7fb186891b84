WITH producers AS (
  -- What makes the object that an access takes its attribute from, through whatever only moves values on the stack.
  SELECT i.code_unit_id, i.instr_index, min(e.src_instr_index) AS src, count(*) AS producers
  FROM records.code_objects_instructions i
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = i.code_unit_id AND e.dst_instr_index = i.instr_index
  WHERE i.opname IN ('LOAD_ATTR', 'LOAD_SUPER_ATTR', 'STORE_ATTR', 'DELETE_ATTR') AND e.kind = 'USE_STACK'
    AND e.operand_index = CASE WHEN i.opname = 'STORE_ATTR' THEN 1 ELSE 0 END
  GROUP BY i.code_unit_id, i.instr_index
), accesses AS (
  SELECT i.repo, i.file_id, i.path, i.code_unit_id, i.instr_index, i."offset", i.opname, i.arg, i.argval_str AS attribute, i.line_number,
    i.span_start_line0, i.span_start_col, i.span_end_line0, i.span_end_col,
    i.stack_depth_before - i.pops + CASE WHEN i.opname = 'STORE_ATTR' THEN 1 ELSE 0 END AS slot, r.src, r.producers
  FROM producers r
  JOIN records.code_objects_instructions i ON i.code_unit_id = r.code_unit_id AND i.instr_index = r.instr_index
), objects AS (
  SELECT a.*, a.producers = 1 AND p.opname IN ('LOAD_ATTR', 'LOAD_SUPER_ATTR') AS of_attribute,
    CASE WHEN a.producers > 1 THEN 'several' WHEN a.opname = 'LOAD_SUPER_ATTR' THEN 'super' ELSE {producer_kind} END AS base_kind,
    CASE WHEN a.producers > 1 THEN NULL WHEN a.opname = 'LOAD_SUPER_ATTR' THEN 'super()' ELSE {variable} END AS base
  FROM accesses a
  JOIN records.code_objects_instructions p ON p.code_unit_id = a.code_unit_id AND p.instr_index = a.src
), linked AS (
  -- Attributes of attributes come one behind the other: `a.b.c` loads `b` of `a` and then `c` of that.
  SELECT *, of_attribute AND src = lag(instr_index) OVER w AND code_unit_id = lag(code_unit_id) OVER w AS follows,
    row_number() OVER w AS nth
  FROM objects WINDOW w AS (ORDER BY code_unit_id, instr_index)
), counted AS (
  SELECT *,
    nth - max(CASE WHEN coalesce(follows, false) THEN NULL ELSE nth END)
      OVER (ORDER BY code_unit_id, instr_index ROWS UNBOUNDED PRECEDING) AS depth
  FROM linked
), behind AS (
  SELECT *,
    lag(attribute, 1) OVER w AS name_1, lag(base, 1) OVER w AS base_1, lag(base_kind, 1) OVER w AS kind_1,
    lag(attribute, 2) OVER w AS name_2, lag(base, 2) OVER w AS base_2, lag(base_kind, 2) OVER w AS kind_2,
    lag(attribute, 3) OVER w AS name_3, lag(base, 3) OVER w AS base_3, lag(base_kind, 3) OVER w AS kind_3,
    lag(attribute, 4) OVER w AS name_4, lag(base, 4) OVER w AS base_4, lag(base_kind, 4) OVER w AS kind_4,
    lag(attribute, 5) OVER w AS name_5, lag(base, 5) OVER w AS base_5, lag(base_kind, 5) OVER w AS kind_5,
    lag(attribute, 6) OVER w AS name_6, lag(base, 6) OVER w AS base_6, lag(base_kind, 6) OVER w AS kind_6,
    lag(attribute, 7) OVER w AS name_7, lag(base, 7) OVER w AS base_7, lag(base_kind, 7) OVER w AS kind_7,
    lag(attribute, 8) OVER w AS name_8, lag(base, 8) OVER w AS base_8, lag(base_kind, 8) OVER w AS kind_8
  FROM counted WINDOW w AS (ORDER BY code_unit_id, instr_index)
), named AS (
  SELECT *,
    CASE depth WHEN 0 THEN base
      WHEN 1 THEN base_1 || '.' || name_1
      WHEN 2 THEN base_2 || '.' || name_2 || '.' || name_1
      WHEN 3 THEN base_3 || '.' || name_3 || '.' || name_2 || '.' || name_1
      WHEN 4 THEN base_4 || '.' || name_4 || '.' || name_3 || '.' || name_2 || '.' || name_1
      WHEN 5 THEN base_5 || '.' || name_5 || '.' || name_4 || '.' || name_3 || '.' || name_2 || '.' || name_1
      WHEN 6 THEN base_6 || '.' || name_6 || '.' || name_5 || '.' || name_4 || '.' || name_3 || '.' || name_2 || '.' || name_1
      WHEN 7 THEN base_7 || '.' || name_7 || '.' || name_6 ||
        '.' || name_5 || '.' || name_4 || '.' || name_3 || '.' || name_2 || '.' || name_1
      WHEN 8 THEN base_8 || '.' || name_8 || '.' || name_7 || '.' || name_6 ||
        '.' || name_5 || '.' || name_4 || '.' || name_3 || '.' || name_2 || '.' || name_1
    END AS chain,
    CASE depth WHEN 0 THEN base_kind
      WHEN 1 THEN kind_1
      WHEN 2 THEN kind_2
      WHEN 3 THEN kind_3
      WHEN 4 THEN kind_4
      WHEN 5 THEN kind_5
      WHEN 6 THEN kind_6
      WHEN 7 THEN kind_7
      WHEN 8 THEN kind_8
      ELSE 'attribute' END AS chain_kind
  FROM behind
), shared AS (
  -- Of `a.b.c += 1` the store has its object from the load of `b` too, from which other accesses may separate it.
  SELECT *, src = lag(src) OVER w AND code_unit_id = lag(code_unit_id) OVER w
      AND of_attribute AND NOT coalesce(follows, false) AS same_object,
    lag(chain) OVER w AS other_chain, lag(chain_kind) OVER w AS other_kind
  FROM named WINDOW w AS (ORDER BY code_unit_id, src, instr_index)
)
SELECT repo, file_id, path, code_unit_id, instr_index, "offset", attribute,
  CASE opname WHEN 'STORE_ATTR' THEN 'write' WHEN 'DELETE_ATTR' THEN 'delete' ELSE 'read' END AS access,
  CASE WHEN same_object THEN other_chain ELSE chain END AS object,
  CASE WHEN same_object THEN other_chain ELSE chain END || '.' || attribute AS dotted,
  CASE WHEN same_object THEN other_kind ELSE chain_kind END AS base_kind,
  opname IN ('LOAD_ATTR', 'LOAD_SUPER_ATTR') AND arg % 2 = 1 AS is_method,
  line_number, span_start_line0 AS pos_start_line, span_start_col AS pos_start_col,
  span_end_line0 AS pos_end_line, span_end_col AS pos_end_col
FROM shared
