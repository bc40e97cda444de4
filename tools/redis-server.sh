#!/bin/sh
# Make sure that a redis-server program is there, for tests to start private servers from.
# Installs it with the system's package manager when it is missing, and never starts a service.
set -eu

for name in ${REDIS_SERVER:-redis-server valkey-server}; do
    if command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done

give_up() {
    echo "tools/redis-server.sh: $1" >&2
    echo "Install Redis 7 yourself, or name its program: REDIS_SERVER=/path/to/redis-server" >&2
    exit 1
}

if [ -n "${REDIS_SERVER:-}" ]; then
    give_up "REDIS_SERVER is $REDIS_SERVER, which cannot be run"
fi

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

announce() {
    echo "redis-server is missing: installing it with $1, its service stays off"
    if [ "$1" != brew ] && [ "$(id -u)" -ne 0 ] && ! command -v sudo >/dev/null 2>&1; then
        give_up "$1 needs root or sudo, and there is neither"
    fi
}

# Debian starts a service as it is installed, unless this policy says no.
policy=/usr/sbin/policy-rc.d

remove_policy() {
    as_root rm -f "$policy"
}

with_apt() {
    announce apt-get
    if [ ! -e "$policy" ]; then
        trap remove_policy EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    # One broken source is no reason to stop: the installation decides.
    as_root apt-get update -qq || true
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends redis-server >/dev/null ||
        return 1
    if command -v systemctl >/dev/null 2>&1; then
        as_root systemctl disable --quiet redis-server 2>/dev/null || true
    fi
}

if command -v apt-get >/dev/null 2>&1; then
    with_apt || give_up "apt-get could not install redis-server"
elif command -v brew >/dev/null 2>&1; then
    announce brew
    brew install --quiet redis || give_up "brew could not install redis"
elif command -v dnf >/dev/null 2>&1; then
    announce dnf
    as_root dnf install -y -q redis || as_root dnf install -y -q valkey ||
        give_up "dnf could install neither redis nor valkey"
elif command -v pacman >/dev/null 2>&1; then
    announce pacman
    as_root pacman -S --noconfirm --needed valkey || give_up "pacman could not install valkey"
else
    give_up "redis-server is missing, and so is a package manager that this script knows"
fi

for name in redis-server valkey-server; do
    if command -v "$name" >/dev/null 2>&1; then
        exit 0
    fi
done
give_up "the package was installed, but there is no redis-server on the PATH"
