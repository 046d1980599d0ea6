#!/usr/bin/perl
# Perl's FCGI module: answers with the body it got. LEAVE_GROUP makes it leave its process group.
use strict;
use warnings;
use FCGI;

setpgrp(0, getpgrp(getppid())) if $ENV{LEAVE_GROUP};
my $request = FCGI::Request();
while ($request->Accept() >= 0) {
    my $length = $ENV{CONTENT_LENGTH} || 0;
    my $body = '';
    read(STDIN, $body, $length) if $length > 0;
    select(undef, undef, undef, $ENV{SLEEP_MS} / 1000) if $ENV{SLEEP_MS};
    print "Content-Type: text/plain\r\n\r\nperl $body";
}
