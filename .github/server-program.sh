#!/bin/sh
# Take a server's program out of its container image, for the tests to start their own from:
#
#     sh .github/server-program.sh IMAGE PROGRAM DIRECTORY
#
# In a workflow, REDIS_SERVER names it in the steps that follow.
set -eu

image=$1 program=$2 directory=$3
container=$(docker create "$image")
trap 'docker rm "$container" >/dev/null' EXIT
docker cp --follow-link "$container:/usr/local/bin/$program" "$directory/$program"
"$directory/$program" --version
echo "REDIS_SERVER=$directory/$program" >>"${GITHUB_ENV:-/dev/stdout}"
