#!/usr/bin/env bash
# lint.sh BUILDDIR "WARNINGS": everything that can be found without running the program.
#
# Says nothing of what is well; prints every finding, and ends with 1 if there is any.
set -u
export LC_ALL=C
unset MAKEFLAGS MAKELEVEL MFLAGS # those of the make that called are not for the ones below
cd "$(dirname "$0")/../.." || exit 1

build=${1:?BUILDDIR}
read -r -a warnings <<<"${2:?WARNINGS}"
work=$build/lint
cores=$(nproc)
allowed='Makefile src conf tests init README.md LICENSE .ci .clang-format .clang-tidy .gitignore .editorconfig'
failed=

for tool in make gcc clang clang-format clang-tidy cppcheck mandoc nm python3 shellcheck; do
	command -v $tool >/dev/null || { echo "lint: $tool is missing: make deps" >&2; exit 1; }
done

rm -rf "$work" && mkdir -p "$work" || exit 1

# What belongs to the tree: what git knows and what it would not ignore; of an unpacked archive, all.
all_files() {
	if git rev-parse --is-inside-work-tree >/dev/null 2>&1; then
		git ls-files -co --exclude-standard
	else
		find . -path "./${build#./}" -prune -o -type f -print | cut -c 3-
	fi | sort -u | while IFS= read -r file; do
		[ ! -f "$file" ] || printf '%s\n' "$file"
	done
}
all_files >"$work/files"
files() { grep -E "$1" "$work/files"; }

# group NAME COMMAND...: a finding is output, or an exit code other than 0.
group() {
	local name=$1 code
	shift
	"$@" >"$work/$name.log" 2>&1
	code=$?
	[ $code = 0 ] && [ ! -s "$work/$name.log" ] && return
	cat "$work/$name.log"
	echo "lint: $name: failed"
	failed=yes
}

format() {
	files '\.[ch]$' | xargs clang-format --dry-run -Werror
}

# The real build, so that generated files are there too; then what it does not build.
compile() {
	local cc=$1 cflags=$2
	make -s -k -j"$cores" B="$work/$cc" CC="$cc" WARNINGS="${warnings[*]}" CFLAGS="$cflags -Werror" all
	files '^tests/.*\.c$' | xargs -P "$cores" -I{} \
		"$cc" -std=c11 -D_GNU_SOURCE -Isrc "${warnings[@]}" -Werror -O2 -c -o /dev/null {}
}

layers() {
	python3 -B tests/lint/test_layers.py
	# Without optimization, so that every reference in the source is one in the object.
	python3 -B tests/lint/layers.py --objects "$work/clang/obj" .
}

# Attributes say nothing to it, and it takes one behind a function pointer for a syntax error.
check_cpp() {
	cppcheck -j"$cores" --quiet --std=c11 --library=posix --enable=warning,performance,portability \
		--inline-suppr --suppressions-list=tests/lint/cppcheck.txt --template=gcc \
		--error-exitcode=1 -D_GNU_SOURCE '-D__attribute__(x)=' -Isrc src tests
}

# One file at a time: with several its check of va_list sees ghosts.
tidy_one() {
	local include=(-include tests/lint/analyzer.h)
	case $1 in tests/* | */err.c) include=() ;; esac
	clang-tidy --quiet "$1" -- -std=c11 -D_GNU_SOURCE -Isrc "${include[@]}" >"$2/${1//\//_}.tidy" 2>&1
}
export -f tidy_one

tidy() {
	files '^src/.*\.c$|^tests/(bench|fuzz|integration)/.*\.c$' |
		xargs -P "$cores" -I{} bash -c 'tidy_one "$@"' - {} "$work"
	cat "$work"/*.tidy | grep -vE '^[0-9]+ (warning|error)s? (generated|treated)|^Suppressed |^Use -'
	return 0
}

# Which manuals this machine has is no matter; "--" is what one types; a heading ends with a bracket.
manuals() {
	files '^src/.*\.[1-9]$' | xargs -r mandoc -T lint 2>/dev/null |
		grep -vE 'referenced manual not found|verbatim "--"|trailing delimiter: Sh '
	return 0
}

# By the first line, or the name. OpenRC sources its scripts into a shell of its own; functions are
# also called by a trap or by name, so nothing is "unreachable" (SC2317).
shell() {
	local file first
	export SHELLCHECK_OPTS=--exclude=SC2317
	while IFS= read -r file; do
		IFS= read -r first <"$file"
		case $first in
		'#!/sbin/openrc-run'*) shellcheck --shell=sh --exclude=SC2034,SC2154 "$file" ;;
		'#!'*[/\ ]sh* | '#!'*[/\ ]bash* | '#!'*[/\ ]dash*) shellcheck "$file" ;;
		*) case $file in *.sh) echo "$file:1: the first line names no shell" ;; esac ;;
		esac
	done < <(files '')
}

python() {
	files '\.py$' | xargs python3 -B -W error -c '
import sys
for path in sys.argv[1:]:
    try:
        with open(path, encoding="utf-8") as f:
            compile(f.read(), path, "exec")
    except (SyntaxError, Warning) as e:
        print("%s: %s" % (path, e))'
}

# What is given to the fuzz targets is no text.
text() {
	local file
	files '' | grep -v '^tests/fuzz/[a-z]*/' | xargs grep -InE '[[:blank:]]+$' | sed 's/$/  <- blanks at the end/'
	while IFS= read -r file; do
		[ ! -s "$file" ] || [ -z "$(tail -c 1 "$file")" ] || echo "$file: the last line has no end"
	done < <(files '' | grep -v '^tests/fuzz/[a-z]*/')
}

top_level() {
	local entry
	cut -d / -f 1 "$work/files" | sort -u | while IFS= read -r entry; do
		case " $allowed " in
		*" $entry "*) ;;
		*) echo "$entry: does not belong at the top; allowed: $allowed" ;;
		esac
	done
}

group format format
group gcc compile gcc -O2
group clang compile clang '-O0 -U_FORTIFY_SOURCE'
group layers layers
group keys python3 -B tests/lint/keys.py
group cppcheck check_cpp
group manuals manuals
group shell shell
group python python
group text text
group top-level top_level
group clang-tidy tidy

[ -z "$failed" ] || exit 1
echo "lint: format, gcc, clang, layers, keys, cppcheck, clang-tidy, manuals, shell, python: no findings"
