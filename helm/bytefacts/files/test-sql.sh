# The SQL service answers who may ask, and nobody else.
set -eu
set -- --connect "$SQL" --format csv
if [ -f /etc/bytefacts/sql-ca/ca.crt ]; then set -- "$@" --ca /etc/bytefacts/sql-ca/ca.crt; fi
# Until its node's policies know a new pod, they keep it out.
tries=0
until said=$(bytefacts sql "$@" "SELECT 1" 2>&1) || ! printf '%s\n' "$said" | grep -q 'no server answers'; do
  tries=$((tries + 1))
  [ "$tries" -lt 30 ] || break
  sleep 2
done
if [ -f /etc/bytefacts/token/token ]; then
  bytefacts sql "$@" --token-file /etc/bytefacts/token/token "SELECT count(*) >= 0 AS answered FROM bytefacts.runs" | grep -qx true
  echo "the service answers with a login"
fi
if answer=$(bytefacts sql "$@" "SELECT count(*) >= 0 AS answered FROM bytefacts.runs" 2>&1); then
  printf '%s\n' "$answer" | grep -qx true
  if [ "$USERS" = true ]; then
    echo "the service has users, and answers without a login" >&2
    exit 1
  fi
  echo "the service answers"
elif [ "$USERS" = true ]; then
  printf '%s\n' "$answer"
  printf '%s\n' "$answer" | grep -qi -e login -e log -e auth
  echo "the service answers nobody without a login"
else
  printf '%s\n' "$answer" >&2
  exit 1
fi
