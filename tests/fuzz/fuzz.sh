#!/usr/bin/env bash
# fuzz.sh replay BUILDDIR TARGET...: gives each target the inputs of the tree. Quiet if nothing is found.
# fuzz.sh SECONDS BUILDDIR TARGET...: looks for new inputs, so long for each target.
#
# corpus/TARGET has inputs that mean something, found/TARGET those that once showed a mistake. What a
# run adds is in BUILDDIR/fuzz/corpus/TARGET; the next one goes on from there.
set -u
cd "$(dirname "$0")/../.." || exit 1

how=${1:?replay or SECONDS}
build=${2:?BUILDDIR}/fuzz
shift 2

# What the tree has for a target.
inputs() {
	find "tests/fuzz/corpus/$1" "tests/fuzz/found/$1" -type f 2>/dev/null | LC_ALL=C sort
}

replay() {
	local target=$1 log=$build/$1.log files
	mapfile -t files < <(inputs "$target")
	[ ${#files[@]} -gt 0 ] || { echo "fuzz: tests/fuzz/corpus/$target is empty" >&2; return 1; }
	"$build/$target" "${files[@]}" >"$log" 2>&1 || { cat "$log"; return 1; }
	total=$((total + ${#files[@]}))
}

search() {
	local target=$1 log=$build/$1.log own=$build/corpus/$1 known=() directory
	for directory in "tests/fuzz/corpus/$target" "tests/fuzz/found/$target"; do
		[ ! -d "$directory" ] || known+=("$directory")
	done
	mkdir -p "$own"
	"$build/$target" -max_total_time="$how" -timeout=60 -rss_limit_mb=1024 -print_final_stats=1 \
		-verbosity=0 -max_len=4096 -artifact_prefix="$build/found-$target-" "$own" "${known[@]}" >"$log" 2>&1 || {
		cat "$log"
		echo "fuzz: once it is mended, keep the input in tests/fuzz/found/$target"
		return 1
	}
	awk -v target="$target" '/^stat::number_of_executed_units/ { n = $2 }
		END { printf "%-8s %d executions, nothing found\n", target, n }' "$log"
}

total=0
failed=
for target in "$@"; do
	case $how in
	replay) replay "$target" || failed=yes ;;
	*) search "$target" || failed=yes ;;
	esac
done
[ -z "$failed" ] || exit 1
[ "$how" != replay ] || echo "fuzz tests: $total inputs for $# targets, nothing found"
