carriers AS (
  -- What takes the arguments: the call, and where they do not fit on the stack or are unpacked the tuple, list and dictionary that are
  -- built for it, which have its place in the source.
  SELECT code_unit_id, instr_index, opname, pops, stack_depth_before - pops AS bottom, instr_index AS call_index
  FROM records.code_objects_instructions WHERE opname IN ('CALL', 'CALL_KW', 'CALL_FUNCTION_EX')
  UNION ALL
  SELECT b.code_unit_id, b.instr_index, b.opname, b.pops, b.stack_depth_before - b.pops, min(c.instr_index)
  FROM records.code_objects_instructions c
  JOIN records.code_objects_instructions b ON b.code_unit_id = c.code_unit_id AND b.span_start_line0 = c.span_start_line0
    AND b.span_start_col = c.span_start_col AND b.span_end_line0 = c.span_end_line0 AND b.span_end_col = c.span_end_col
  WHERE c.opname = 'CALL_FUNCTION_EX' AND b.instr_index < c.instr_index
    AND b.opname IN ('BUILD_TUPLE', 'BUILD_LIST', 'LIST_APPEND', 'LIST_EXTEND', 'BUILD_MAP', 'BUILD_CONST_KEY_MAP', 'DICT_MERGE')
  GROUP BY b.code_unit_id, b.instr_index, b.opname, b.pops, b.stack_depth_before
  UNION ALL
  -- Of very many keywords each is added to the dictionary by itself.
  SELECT b.code_unit_id, b.instr_index, b.opname, b.pops, b.stack_depth_before - b.pops, min(c.instr_index)
  FROM records.code_objects_instructions c
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = c.code_unit_id AND e.dst_instr_index = c.instr_index
  JOIN records.code_objects_dfg_edges a ON a.code_unit_id = e.code_unit_id AND a.src_instr_index = e.src_instr_index
  JOIN records.code_objects_instructions b ON b.code_unit_id = a.code_unit_id AND b.instr_index = a.dst_instr_index
  WHERE c.opname = 'CALL_FUNCTION_EX' AND c.arg = 1 AND e.kind = 'USE_STACK' AND e.operand_index = 3
    AND b.opname = 'MAP_ADD' AND a.kind = 'USE_STACK' AND a.operand_index = b.pops
  GROUP BY b.code_unit_id, b.instr_index, b.opname, b.pops, b.stack_depth_before
), operands AS (
  SELECT r.code_unit_id, r.call_index, r.instr_index AS carrier, r.opname AS carrier_opname, r.pops, e.operand_index,
    r.bottom + e.operand_index AS slot, min(e.src_instr_index) AS src, count(*) AS producers
  FROM carriers r
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = r.code_unit_id AND e.dst_instr_index = r.instr_index
  WHERE e.kind = 'USE_STACK' AND e.operand_index < r.pops AND (e.operand_index >= 2 OR r.opname NOT IN ('CALL', 'CALL_KW',
    'CALL_FUNCTION_EX'))
  GROUP BY r.code_unit_id, r.call_index, r.instr_index, r.opname, r.pops, e.operand_index, r.bottom
), keys AS (
  -- The constant that names the value in a dictionary: the operand before it, or the names of all values behind the last.
  SELECT e.code_unit_id, e.dst_instr_index, e.operand_index, p.argval_str AS names
  FROM records.code_objects_instructions b
  JOIN records.code_objects_dfg_edges e ON e.code_unit_id = b.code_unit_id AND e.dst_instr_index = b.instr_index
  JOIN records.code_objects_instructions p ON p.code_unit_id = e.code_unit_id AND p.instr_index = e.src_instr_index
  WHERE b.opname IN ('BUILD_MAP', 'BUILD_CONST_KEY_MAP', 'MAP_ADD') AND e.kind = 'USE_STACK' AND p.opname = 'LOAD_CONST'
    AND e.operand_index < b.pops
), found AS (
  SELECT c.*, o.carrier_opname, o.operand_index, o.producers, o.src, o.carrier, k.names AS key_names, o.pops,
    p.opname AS p_opname, p.argrepr AS p_argrepr, CASE WHEN o.producers > 1 THEN 'several' ELSE {producer_kind} END AS value_kind,
    CASE WHEN o.producers > 1 THEN NULL WHEN p.opname = 'LOAD_CONST' THEN p.argrepr ELSE {variable} END AS value,
    CASE WHEN o.producers > 1 THEN NULL ELSE o.src END AS value_instr_index,
    p.opname IN ('LOAD_CONST', 'BUILD_TUPLE', 'BUILD_LIST', 'CALL_INTRINSIC_1', 'BUILD_MAP', 'BUILD_CONST_KEY_MAP')
      AND p.span_start_line0 = c.pos_start_line AND p.span_start_col = c.pos_start_col AND p.span_end_line0 = c.pos_end_line
        AND p.span_end_col = c.pos_end_col AS is_own,
    CASE
      WHEN o.carrier_opname IN ('CALL', 'CALL_KW') THEN o.operand_index - 2
      WHEN o.carrier_opname IN ('BUILD_TUPLE', 'BUILD_LIST') THEN o.operand_index
    END - c.skipped AS nth
  FROM operands o
  JOIN called c ON c.code_unit_id = o.code_unit_id AND c.instr_index = o.call_index
  JOIN records.code_objects_instructions p ON p.code_unit_id = o.code_unit_id AND p.instr_index = o.src
  LEFT JOIN keys k ON k.code_unit_id = o.code_unit_id AND k.dst_instr_index = o.carrier
    AND k.operand_index = CASE WHEN o.carrier_opname = 'BUILD_CONST_KEY_MAP' THEN o.pops - 1 ELSE o.operand_index - 1 END
), arguments AS (
  SELECT *,
    CASE
      WHEN carrier_opname IN ('CALL', 'CALL_KW') THEN CASE
        WHEN nth < 0 OR nth >= positional_count + keyword_count THEN NULL WHEN nth < positional_count THEN 'positional' ELSE 'keyword' END
      WHEN carrier_opname = 'CALL_FUNCTION_EX' AND operand_index = 2 THEN CASE
        WHEN NOT coalesce(is_own, false) THEN 'star' WHEN p_opname = 'LOAD_CONST' AND p_argrepr <> '()' THEN 'constants' END
      WHEN carrier_opname IN ('BUILD_TUPLE', 'BUILD_LIST') THEN CASE WHEN nth >= 0 THEN 'positional' END
      WHEN carrier_opname = 'LIST_APPEND' THEN 'positional'
      WHEN carrier_opname = 'LIST_EXTEND' THEN CASE
        WHEN coalesce(is_own, false) AND p_opname = 'LOAD_CONST' THEN 'constants' ELSE 'star' END
      WHEN carrier_opname = 'BUILD_MAP' THEN CASE WHEN operand_index % 2 = 1 THEN 'keyword' END
      WHEN carrier_opname = 'BUILD_CONST_KEY_MAP' THEN CASE WHEN operand_index < pops - 1 THEN 'keyword' END
      WHEN carrier_opname = 'MAP_ADD' THEN CASE WHEN operand_index = 1 THEN 'keyword' END
      WHEN carrier_opname = 'DICT_MERGE' THEN CASE WHEN NOT coalesce(is_own, false) THEN 'double_star' END
    END AS kind,
    CASE
      WHEN carrier_opname = 'CALL_KW' AND nth >= positional_count THEN split_part(keyword_names, ' ',
        CAST(nth - positional_count + 1 AS BIGINT))
      WHEN carrier_opname IN ('BUILD_MAP', 'MAP_ADD') THEN key_names
      WHEN carrier_opname = 'BUILD_CONST_KEY_MAP' THEN split_part(translate(key_names, '(,)''', ''), ' ', CAST(operand_index + 1 AS BIGINT))
    END AS keyword
  FROM found
)
