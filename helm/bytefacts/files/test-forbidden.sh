# Somebody who is none of the release's pods does not reach the scheduler.
set -eu
address=${SCHEDULER#df://}
exec "${BYTEFACTS_PYTHON:-python3.13}" - "${address%:*}" "${address##*:}" <<'PYTHON'
import socket, sys
host, port = sys.argv[1], int(sys.argv[2])
addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)  # a name that nobody knows would prove nothing
for family, kind, protocol, _, address in addresses:
    with socket.socket(family, kind, protocol) as stranger:
        stranger.settimeout(5)
        try:
            stranger.connect(address)
        except OSError as error:
            print(f"{address[0]}:{port} cannot be reached by strangers: {error}")
        else:
            sys.exit(f"{address[0]}:{port} lets strangers in: this cluster enforces no NetworkPolicies; set networkPolicy.enabled=false to say so")
PYTHON
