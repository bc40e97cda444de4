#!/bin/sh
# Make sure that programs are there which are no Python packages, for tests to start their own from:
#
#     sh tools/system-programs.sh redis-server|chromium|curl|nginx|haproxy …
#
# Installs what is missing with the system's package manager, and never starts a service.
# REDIS_SERVER, CHROMIUM, CURL, NGINX_SERVER and HAPROXY_SERVER each name another program than the
# one that is found. (nginx takes a variable NGINX for sockets that it inherits.)
set -eu

provide() {
    case $1 in
        redis-server)
            make_sure_of REDIS_SERVER redis-server valkey-server \
                apt=redis-server brew=redis dnf=redis dnf=valkey pacman=valkey
            ;;
        chromium)
            # A machine without a screen may have no font either, and then a page has no text.
            make_sure_of CHROMIUM chromium chromium-browser google-chrome google-chrome-stable \
                "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome" \
                "apt=chromium fonts-dejavu-core" "brew=--cask google-chrome" \
                "dnf=chromium dejavu-sans-fonts" "pacman=chromium ttf-dejavu"
            ;;
        curl)
            make_sure_of CURL curl apt=curl brew=curl dnf=curl pacman=curl
            ;;
        nginx)
            make_sure_of NGINX_SERVER nginx /usr/sbin/nginx apt=nginx brew=nginx dnf=nginx pacman=nginx
            ;;
        haproxy)
            make_sure_of HAPROXY_SERVER haproxy /usr/sbin/haproxy apt=haproxy brew=haproxy dnf=haproxy pacman=haproxy
            ;;
        *)
            echo "tools/system-programs.sh: no program is known as $1" >&2
            exit 2
            ;;
    esac
}

# make_sure_of VARIABLE program… manager=packages…: any of the programs will do. Of a manager's
# entries the first that can be installed is taken.
make_sure_of() {
    variable=$1 wanted=$2
    shift
    named=$(printenv "$variable" || true)
    if [ -n "$named" ]; then
        is_there "$named" || give_up "$variable is $named, which cannot be run"
        return
    fi
    one_is_there "$@" && return
    manager=$(first_there apt brew dnf pacman) ||
        give_up "$wanted is missing, and so is a package manager that this script knows"
    if [ "$manager" != brew ] && [ "$(id -u)" -ne 0 ] && ! is_there sudo; then
        give_up "$wanted is missing, and $manager needs root or sudo: there is neither"
    fi
    for entry in "$@"; do
        case $entry in
            "$manager="*)
                echo "$wanted is missing: installing ${entry#*=} with $manager; no service is started"
                # A word each: they are names of packages.
                # shellcheck disable=SC2086
                if "with_$manager" ${entry#*=} && one_is_there "$@"; then
                    return
                fi
                ;;
        esac
    done
    give_up "$manager could not install $wanted"
}

give_up() {
    echo "tools/system-programs.sh: $1" >&2
    echo "Install it yourself, or name its program: $variable=/path/to/$wanted" >&2
    exit 1
}

is_there() {
    command -v "$1" >/dev/null 2>&1
}

first_there() {
    for name; do
        case $name in
            *=*) ;;
            *) if is_there "$name"; then echo "$name" && return; fi ;;
        esac
    done
    return 1
}

one_is_there() {
    first_there "$@" >/dev/null
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# Debian starts a service as it is installed, unless this policy says no.
policy=/usr/sbin/policy-rc.d

remove_policy() {
    as_root rm -f "$policy"
}

with_apt() {
    if [ ! -e "$policy" ]; then
        trap remove_policy EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
        as_root chmod 755 "$policy"
    fi
    # One broken source is no reason to stop: the installation decides.
    as_root apt-get update -qq || true
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get install -qq -y --no-install-recommends "$@" >/dev/null || return 1
    if [ "$1" = redis-server ] && is_there systemctl; then
        as_root systemctl disable --quiet redis-server 2>/dev/null || true
    fi
}

with_brew() {
    brew install --quiet "$@"
}

with_dnf() {
    as_root dnf install -y -q "$@"
}

with_pacman() {
    as_root pacman -S --noconfirm --needed "$@"
}

for program; do
    provide "$program"
done
