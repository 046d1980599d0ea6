#!/usr/bin/env bash
# run.sh PREFORKD: the counter behind nginx, to look at. Ctrl-C stops both and leaves nothing behind.
#
# PORT=NUMBER says where nginx listens on 127.0.0.1; without it, 8080 or the next free one. The status
# page is at 9253 or the next free one.
set -u
cd "$(dirname "$0")/.." || exit 1

binary=${1:?PREFORKD}
port=${PORT:-8080}
status=9253
dir=
preforkd=
nginx=
stopping=

die() {
	echo "run: $*" >&2
	exit 1
}

# A process group of its own: Ctrl-C then comes only here, and what nginx leaves can be found.
launch() {
	local output=$1
	shift
	set -m
	"$@" </dev/null >>"$output" 2>&1 &
	set +m
	launched=$!
}

alive() {
	[ -n "$1" ] && kill -0 "$1" 2>/dev/null
}

# until_true SECONDS COMMAND...: waits for it, 0.1 s at a time.
until_true() {
	local tries=$(($1 * 10))
	shift
	until "$@"; do
		[ $((tries -= 1)) -gt 0 ] || return 1
		sleep 0.1
	done
}

gone() {
	! kill -0 -- "-$1" 2>/dev/null
}

# The workers of a master that was killed end by themselves; then nobody has the socket any more.
socket_closed() {
	! grep -qF " $dir/www.sock" /proc/net/unix
}

# make passes a signal on that we have got already: the second must not cut the cleaning short.
stop() {
	trap '' INT TERM HUP
	[ -z "$stopping" ] || return
	stopping=yes
	exit 0
}

# Process groups, so that workers go whose nginx has died. The jobs, because a signal may come
# before a variable is set.
end() {
	local group groups
	trap '' INT TERM HUP
	groups="$preforkd $nginx $(jobs -p)"
	for group in $groups; do
		kill -TERM -- "-$group" 2>/dev/null
	done
	for group in $groups; do
		until_true 10 gone "$group" || kill -KILL -- "-$group"
	done
	wait 2>/dev/null
	[ -n "$dir" ] || return
	until_true 10 socket_closed || echo "run: some workers are still busy" >&2
	rm -rf "$dir"
}

serving() {
	! alive "$preforkd" || grep -q "serving with" "$dir/preforkd.log"
}

# Is anybody there?
taken() {
	(: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# One answer, whatever it is.
get() {
	timeout 5 bash -c "exec 3<>/dev/tcp/127.0.0.1/$port &&
		printf 'GET / HTTP/1.0\r\n\r\n' >&3 && cat <&3" 2>/dev/null
}

# nginx writes its pidfile when the port is its own, so the answer is that of our counter.
answers() {
	alive "$nginx" || return 0
	[ -s "$dir/nginx/nginx.pid" ] && get | grep -q "^HTTP/1.1 200"
}

configure() {
	cat >"$dir/preforkd.conf" <<-END
		[preforkd]
		pid-file =
		control = $dir/control.sock
		http = 127.0.0.1:$status
		[pool counter]
		listen = $dir/www.sock
		listen-mode = 0666
		app = counter
		stop-timeout = 5s
	END
}

# Somebody else may have the port of the status page: then the next one.
start_preforkd() {
	while [ "$status" -lt 65536 ]; do
		configure
		launch "$dir/preforkd.log" "$binary" -F -c "$dir/preforkd.conf"
		preforkd=$launched
		until_true 30 serving && alive "$preforkd" && return
		grep -q "http: .*in use" "$dir/preforkd.log" || break
		: >"$dir/preforkd.log"
		status=$((status + 1))
	done
	cat "$dir/preforkd.log" >&2
	die "preforkd does not serve"
}

# Somebody else may take the port between the look and the bind: then the next one.
start_nginx() {
	while [ "$port" -lt 65536 ]; do
		if [ -n "${PORT:-}" ] || ! taken "$port"; then
			sed -e "s|127\.0\.0\.1:9000|unix:$dir/www.sock|" \
				-e "s|127\.0\.0\.1:8080|127.0.0.1:$port|" conf/nginx.conf >"$dir/nginx.conf"
			rm -rf "$dir/nginx" && mkdir "$dir/nginx" || exit 1
			launch "$dir/nginx.log" nginx -p "$dir/nginx/" -e "$dir/nginx/error.log" \
				-c "$dir/nginx.conf" -g "daemon off;"
			nginx=$launched
			until_true 30 answers && alive "$nginx" && return
			if alive "$nginx" || [ -n "${PORT:-}" ] ||
				! grep -q "Address already in use" "$dir/nginx.log" "$dir/nginx/error.log"; then
				cat "$dir/nginx.log" "$dir/nginx/error.log" >&2
				die "nginx does not serve on 127.0.0.1:$port"
			fi
		fi
		port=$((port + 1))
	done
	die "no port is free from ${PORT:-8080} on"
}

case $port in
'' | *[!0-9]* | 0*) die "PORT=$port is no port" ;;
esac
PATH=$PATH:/usr/sbin:/sbin
command -v nginx >/dev/null || die "nginx is not installed"
trap end EXIT
trap stop INT TERM HUP
# Not by $(mktemp): bash forgets a Ctrl-C that comes while it waits for a substitution.
dir=${TMPDIR:-/tmp}/preforkd-run.$$.$RANDOM
mkdir -m 755 "$dir" || {
	dir=
	die "no place for a temporary directory"
}
start_preforkd
start_nginx

cat <<END
open    http://127.0.0.1:$port/   every request is answered with the next number
status  http://127.0.0.1:$status/   what every worker does, live
reload  kill -HUP $preforkd
client  ${binary%/*}/preforkctl -s $dir/control.sock status
log     tail -f $dir/preforkd.log
stop    Ctrl-C
END

while alive "$preforkd" && alive "$nginx"; do
	wait -n "$preforkd" "$nginx" 2>/dev/null
done
dead=nginx
alive "$preforkd" || dead=preforkd
tail -n 5 "$dir/preforkd.log" "$dir/nginx/error.log" >&2
die "$dead has died"
