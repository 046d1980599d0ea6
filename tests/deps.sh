#!/bin/sh
# deps.sh PACKAGE...: installs those of the distribution's packages that are missing, and nothing when
# all are there. Uses sudo when not root; without it, says what to install. Services of the packages
# are not started: a test machine's port 80 is not ours to take.
set -u

command -v dpkg-query >/dev/null || exit 0 # not Debian: the compiler will say what is missing

missing=
for package in "$@"; do
	dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed ||
		missing="$missing $package"
done
[ -z "$missing" ] && exit 0

if [ "$(id -u)" = 0 ]; then
	as_root=
elif command -v sudo >/dev/null && { [ -t 0 ] || sudo -n true 2>/dev/null; }; then
	as_root=sudo
else
	echo "make: packages are missing; as root run: apt-get install --no-install-recommends$missing" >&2
	exit 1
fi

echo "installing:$missing"
policy=/usr/sbin/policy-rc.d
made_policy=
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null &&
		$as_root chmod 755 "$policy" && made_policy=yes
fi
log=$(mktemp)
install_missing() {
	# shellcheck disable=SC2086 # words on purpose
	$as_root env DEBIAN_FRONTEND=noninteractive \
		apt-get -q -y install --no-install-recommends $missing >"$log" 2>&1
}
install_missing || { $as_root apt-get -q update >>"$log" 2>&1 && install_missing; }
rc=$?
[ -z "$made_policy" ] || $as_root rm -f "$policy"
[ $rc = 0 ] || { cat "$log" >&2; echo "make: the packages could not be installed" >&2; }
rm -f "$log"
exit $rc
