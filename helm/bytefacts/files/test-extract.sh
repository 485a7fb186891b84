# A tiny corpus of the image's own becomes facts, by the cluster if there is one, and answers a query.
set -eu
set -- "$TEST_CORPUS" --out "$TEST_FACTS" --repo helm-test --run-id "helm-test-$NAME"
if [ -n "$SCHEDULER" ]; then set -- "$@" --cluster "$SCHEDULER"; fi
bytefacts extract "$@"
bytefacts sql --facts "$TEST_FACTS" --run "helm-test-$NAME" --format csv "SELECT count(*) > 0 AS answered FROM py_bc_instructions" | grep -qx true
echo "the facts answer"
