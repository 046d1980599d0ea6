#!/bin/sh
# A CGI script for fcgiwrap.
printf 'Content-Type: text/plain\r\n\r\ncgi '
exec cat
