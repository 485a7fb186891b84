# What landing relies on holds at the store, and cluster and interpreter are of one kind.
set -eu
set -- --facts "$BYTEFACTS_FACTS"
if [ -n "$CORPUS" ]; then set -- "$@" --corpus "$CORPUS"; fi
if [ -n "$SCHEDULER" ]; then set -- "$@" --cluster "$SCHEDULER"; fi
exec bytefacts doctor "$@"
