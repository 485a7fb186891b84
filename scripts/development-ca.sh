#!/bin/sh
# Makes an authority and certificates for a cluster on one's own machine: scripts/development-ca.sh FOLDER [DAYS]
#
# FOLDER/ca.pem is what all are told, FOLDER/member.{pem,key} are of schedulers and executors (their name is bytefacts-cluster), FOLDER/client.{pem,key}
# of who hands them jobs, FOLDER/server.{pem,key} of `bytefacts serve` on localhost. An authority that is there is kept, and certifies anew: what
# `bytefacts` does with certificates that rotate can be tried by calling this again. For anything but trying, use an authority of your own.
set -eu

folder=${1:?usage: development-ca.sh FOLDER [DAYS]}
days=${2:-30}
mkdir -p "$folder"
cd "$folder"
umask 077

if [ ! -f ca.pem ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -days 3650 \
        -subj "/CN=bytefacts development" -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign 2>/dev/null
fi

# NAME SUBJECT-ALTERNATIVE-NAME USAGES
certify() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "$1.key.new" -out "$1.csr" -subj "/CN=$1" 2>/dev/null
    printf 'basicConstraints=CA:FALSE\nsubjectAltName=%s\nextendedKeyUsage=%s\n' "$2" "$3" >"$1.ext"
    openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -out "$1.pem.new" -days "$days" -extfile "$1.ext" 2>/dev/null
    # Whoever looks between the two moves finds a key that is not the certificate's, and keeps what it has until its next look.
    mv "$1.key.new" "$1.key"
    mv "$1.pem.new" "$1.pem"
    rm -f "$1.csr" "$1.ext"
}

certify member DNS:bytefacts-cluster serverAuth,clientAuth
certify client DNS:bytefacts-client clientAuth
certify server DNS:localhost,IP:127.0.0.1 serverAuth
echo "$folder: ca.pem, member.pem, client.pem and server.pem with their keys, for $days days"
