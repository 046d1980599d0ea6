#!/bin/sh
# A CGI script for fcgiwrap.
[ -z "$SLEEP_MS" ] || sleep "$((SLEEP_MS / 1000)).$(printf %03d $((SLEEP_MS % 1000)))"
printf 'Content-Type: text/plain\r\n\r\ncgi '
exec cat
