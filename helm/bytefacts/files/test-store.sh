# What landing relies on holds at the store, and cluster and interpreter are of one kind.
set -eu
set -- --facts "$BYTEFACTS_FACTS"
if [ -n "$CORPUS" ]; then set -- "$@" --corpus "$CORPUS"; fi
if [ -n "$SCHEDULER" ]; then set -- "$@" --cluster "$SCHEDULER"; fi
# Where policies are enforced, a new pod may be let out some seconds after its start only. What is really wrong stays wrong.
for _ in 1 2 3 4; do
  if bytefacts doctor "$@"; then exit 0; fi
  sleep 5
done
exec bytefacts doctor "$@"
