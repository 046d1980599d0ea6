#!/usr/bin/env bash
# bench.sh BUILDDIR: what preforkd costs, beside the same counter under other process managers.
#
# All run at the same time and are measured in turns, so that what else the machine does hits all
# alike; what counts is the ratio. Takes about two minutes and leaves nothing behind.
set -u
cd "$(dirname "$0")/../.." || exit 1

build=$(realpath "${1:?BUILDDIR}")
rounds=11
ms=400     # of one measurement
workers=4
clients=16 # with one connection for each request
many=1000  # workers, for start-up and memory
idle=10    # seconds
dir=
systems=() # in the order of the tables; ratios are to the reference
declare -A unix tcp master pids

die() {
	echo "bench: $*" >&2
	exit 1
}

until_true() {
	local tries=$(($1 * 50))
	shift
	until "$@"; do
		[ $((tries -= 1)) -gt 0 ] || return 1
		sleep 0.02
	done
}

gone() {
	! kill -0 "$1" 2>/dev/null
}

# spawn-fcgi ends its file without a newline.
pids_in() {
	local file
	for file in "$@"; do
		[ ! -e "$file" ] || echo "$(<"$file")"
	done
}

end() {
	local pid all
	trap '' INT TERM HUP
	[ -n "$dir" ] || return
	all="$(jobs -p) $(pids_in "$dir"/*.pid)"
	for pid in $all; do
		kill "$pid" 2>/dev/null
	done
	for pid in $all; do
		until_true 20 gone "$pid" || kill -KILL "$pid"
	done
	wait 2>/dev/null
	# shellcheck disable=SC2048
	for pid in ${pids[*]}; do # whose parent did not take them along
		! grep -qF "$dir/" "/proc/$pid/cmdline" 2>/dev/null || kill -KILL "$pid"
	done
	rm -rf "$dir"
}

stop() {
	trap '' INT TERM HUP
	[ -z "$stopping" ] || return
	stopping=yes
	exit 1
}
stopping=

# Programs

compile() {
	mkdir -p "$build/bench" || exit 1
	for name in counter fcgiload; do
		"${CC:-cc}" -std=c11 -D_GNU_SOURCE -O2 -o "$build/bench/$name" \
			"tests/bench/$name.c" -lfcgi -pthread || die "tests/bench/$name.c does not compile"
	done
	# where the workers' user can read them: a home may be closed
	cp "$build/preforkd" "$build/bench/counter" "$build/bench/fcgiload" "$dir/" || exit 1
}

free_port() {
	local port=$((20000 + $$ % 10000))
	while (: <>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || [ "$port" -le "${last_port:-0}" ]; do
		port=$((port + 1))
	done
	last_port=$port
}

children() {
	cat "/proc/$1/task/$1/children" 2>/dev/null
}

# prepare SYSTEM: its addresses, and files for its counters.
prepare() {
	free_port
	systems+=("$1")
	unix[$1]=$dir/${#systems[@]}.sock
	tcp[$1]=127.0.0.1:$last_port
	for kind in unix tcp; do
		: >"$dir/${#systems[@]}.$kind"
		chmod 666 "$dir/${#systems[@]}.$kind"
	done
	base=$dir/${#systems[@]}
}

# start_preforkd SYSTEM WHAT: "app = counter", or a program.
start_preforkd() {
	local kind
	prepare "$1"
	printf '[preforkd]\npid-file =\n' >"$base.conf"
	for kind in unix tcp; do
		local -n address=$kind
		cat >>"$base.conf" <<-END
			[pool $kind]
			listen = ${address[$1]}
			listen-mode = 0666
			workers = $workers
			$2
			env.COUNTER_FILE = $base.$kind
		END
	done
	# a session of its own, as the others have: see write_plain_parent
	setsid "$dir/preforkd" -F -c "$base.conf" 2>"$base.log" &
	master[$1]=$!
	until_true 30 grep -q "serving with" "$base.log" || die "$1: $(cat "$base.log")"
	pids[$1]=$(children "${master[$1]}")
}

as_user=()
[ "$(id -u)" != 0 ] || as_user=(-u nobody -g "$(id -gn nobody)")

# start_spawned SYSTEM COUNT PROGRAM...: spawn-fcgi binds both addresses and forks COUNT times.
start_spawned() {
	local name=$1 count=$2 kind
	shift 2
	prepare "$name"
	pids[$name]=
	for kind in unix tcp; do
		local where=(-a 127.0.0.1 -p "${tcp[$name]#*:}")
		[ $kind = tcp ] || where=(-s "${unix[$name]}" -M 0666)
		COUNTER_FILE=$base.$kind spawn-fcgi "${where[@]}" -b 4096 -F "$count" "${as_user[@]}" \
			-P "$base.$kind.pid" -- "$@" >"$base.log" 2>&1 ||
			die "$name: $(cat "$base.log")"
		pids[$name]+=" $(pids_in "$base.$kind.pid")"
	done
	master[$name]=
}

# start_parent SYSTEM PROGRAM...: one process that has the workers below it.
start_parent() {
	local pid
	start_spawned "$1" 1 "${@:2}"
	master[$1]=${pids[$1]}
	pids[$1]=
	for pid in ${master[$1]}; do
		until_true 10 has_children "$pid" || die "$1: no workers"
		pids[$1]+=" $(children "$pid")"
	done
}

has_children() {
	[ "$(children "$1" | wc -w)" = "$workers" ]
}

# spawn-fcgi makes each worker a session of its own, and where the scheduler shares out by session
# (sched_autogroup_enabled) they get more of the processors than the clients. Without that:
write_plain_parent() {
	cat >"$dir/parent" <<-END
		#!/bin/sh
		exec 3<&0 # what goes to the background loses 0
		trap 'kill \$pids' TERM
		for worker in \$(seq $workers); do
			"$dir/counter" <&3 3<&- &
			pids="\$pids \$!"
		done
		wait
	END
	chmod 755 "$dir/parent"
}

# Measuring

median() {
	sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'
}

# Nanoseconds on a processor of all these processes together.
cpu_time() {
	local pid sum=0 ns rest
	for pid in "$@"; do
		read -r ns rest 2>/dev/null <"/proc/$pid/schedstat" && sum=$((sum + ns))
	done
	echo $sum
}

# measure SYSTEM ADDRESS OPTIONS...: one line "requests/s microseconds" more in its file. Each answer
# is checked by fcgiload; that none was lost between two measurements, here.
measure() {
	local name=$1 address=$2 before after rate count first last
	shift 2
	# shellcheck disable=SC2086 # pids are words
	before=$(cpu_time ${pids[$name]})
	read -r rate count first last < <("$dir/fcgiload" -t "$ms" "$@" "$address") ||
		die "$name: an answer is wrong or lost"
	# shellcheck disable=SC2086
	after=$(cpu_time ${pids[$name]})
	[ "$first" = $((${seen[$address]:-0} + 1)) ] || die "$name: $first came after ${seen[$address]:-0}"
	seen[$address]=$last
	echo "$rate $(awk "BEGIN { print ($after - $before) / $count / 1000 }")" >>"$dir/result.$name"
}
declare -A seen

# table TITLE unix|tcp OPTIONS...
table() {
	local title=$1 name round rate cpu base_rate
	local -n addresses=$2
	shift 2
	rm -f "$dir"/result.*
	for name in "${systems[@]}"; do # warm up
		ms=200 measure "$name" "${addresses[$name]}" "$@"
	done
	rm -f "$dir"/result.*
	for round in $(seq "$rounds"); do
		for name in "${systems[@]}"; do
			measure "$name" "${addresses[$name]}" "$@"
		done
	done
	printf '\n%s\n%-24s %11s %14s %7s\n' "$title" "" requests/s "CPU us/request" ratio
	base_rate=$(cut -d ' ' -f 1 "$dir/result.$reference" | median)
	for name in "${systems[@]}"; do
		rate=$(cut -d ' ' -f 1 "$dir/result.$name" | median)
		cpu=$(cut -d ' ' -f 2 "$dir/result.$name" | median)
		printf '%-24s %11d %14.1f %7.2f\n' "$name" "$rate" "$cpu" \
			"$(awk "BEGIN { print $rate / $base_rate }")"
	done
}

# Proportional set size in KiB of all these processes.
memory() {
	local pid
	for pid in "$@"; do
		cat "/proc/$pid/smaps_rollup" 2>/dev/null
	done | awk '/^Pss:/ { kib += $2 } END { print kib + 0 }'
}

wakeups() {
	local pid
	for pid in "$@"; do
		cat "/proc/$pid/status" 2>/dev/null
	done | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n + 0 }'
}

at_rest() {
	local name
	declare -A before
	for name in "${systems[@]}"; do
		# shellcheck disable=SC2086
		before[$name]=$(wakeups ${master[$name]} ${pids[$name]})
	done
	sleep "$idle"
	printf '\nAt rest, two pools of %d workers\n%-24s %18s %10s\n' "$workers" "" \
		"wake-ups in $idle s" "PSS KiB"
	for name in "${systems[@]}"; do
		# shellcheck disable=SC2086
		printf '%-24s %18d %10d\n' "$name" \
			$(($(wakeups ${master[$name]} ${pids[$name]}) - ${before[$name]})) \
			"$(memory ${master[$name]} ${pids[$name]})"
	done
}

# Milliseconds of a command.
timed() {
	local begin=$EPOCHREALTIME
	"$@" || return
	awk "BEGIN { printf \"%d\n\", ($EPOCHREALTIME - $begin) * 1000 }"
}

# The command returns when all workers wait for requests.
at_scale() {
	local round pid pss=0
	printf '[preforkd]\npid-file = %s\nlog = %s\n[pool many]\nlisten = %s\nworkers = %d\n%s\n' \
		"$dir/many.pid" "$dir/many.log" "$dir/many.sock" "$many" "app = counter" \
		>"$dir/many.conf"
	for round in 1 2 3; do
		timed "$dir/preforkd" -c "$dir/many.conf" >>"$dir/starts" || die "$many workers do not start"
		read -r pid <"$dir/many.pid"
		[ "$round" != 3 ] || {
			# shellcheck disable=SC2046
			pss=$(memory "$pid" $(children "$pid"))
		}
		kill "$pid"
		timed until_true 30 gone "$pid" >>"$dir/stops" || die "$many workers do not stop"
	done
	printf '\npreforkd with %d workers: all ready after %d ms, stopped after %d ms, PSS %d KiB\n' \
		"$many" "$(median <"$dir/starts")" "$(median <"$dir/stops")" "$pss"
	printf '%d KiB for one worker\n' $((pss / many))
}

trap end EXIT
trap stop INT TERM HUP
dir=$(mktemp -d /tmp/preforkd-bench.XXXXXX) || exit 1
chmod 755 "$dir"
compile
reference="spawn-fcgi -F $workers"
start_preforkd "preforkd, app" "app = counter"
start_preforkd "preforkd, command" "command = $dir/counter"
! command -v multiwatch >/dev/null ||
	start_parent multiwatch "$(command -v multiwatch)" -f "$workers" -- "$dir/counter"
write_plain_parent
start_parent "spawn-fcgi, one session" "$dir/parent"
start_spawned "$reference" "$workers" "$dir/counter"

echo "$workers workers each; medians of $rounds rounds of $ms ms in turns; ratio to $reference"
table "Unix socket, a connection for each request, $clients clients" unix -c "$clients"
table "TCP, a connection for each request, $clients clients" tcp -c "$clients"
table "Unix socket, kept connections, $workers clients" unix -k -c "$workers"
table "TCP, kept connections, $workers clients" tcp -k -c "$workers"
at_rest
at_scale
