#!/bin/sh
# A Redis Cluster of three on this machine, without persistence, until Ctrl-C: sh cluster.sh [PORT]
# listens on PORT + 1, + 2, + 3 (7001 to 7003), and 10000 above for the nodes themselves.
set -eu
first=$((${1:-7000} + 1)) nodes='' servers='' folder=$(mktemp -d)
trap 'kill $servers 2>/dev/null || true; rm -rf "$folder"' EXIT
trap 'exit 130' INT TERM

for port in $first $((first + 1)) $((first + 2)); do
    mkdir "$folder/$port"
    redis-server --port "$port" --bind 127.0.0.1 --cluster-enabled yes --cluster-node-timeout 2000 \
        --dir "$folder/$port" --save '' --appendonly no --loglevel warning &
    servers="$servers $!"
    until redis-cli -p "$port" ping >/dev/null 2>&1; do
        kill -0 $! || exit 1 # it has said why
        sleep 0.1
    done
    nodes="$nodes 127.0.0.1:$port"
done
# Words of a list.
# shellcheck disable=SC2086
redis-cli --cluster create $nodes --cluster-yes >/dev/null
echo "The cluster is ready: redis+cluster://127.0.0.1:$first"
wait
