#!/usr/bin/perl
# Perl's FCGI module: answers with the body it got.
use strict;
use warnings;
use FCGI;

my $request = FCGI::Request();
while ($request->Accept() >= 0) {
    my $length = $ENV{CONTENT_LENGTH} || 0;
    my $body = '';
    read(STDIN, $body, $length) if $length > 0;
    print "Content-Type: text/plain\r\n\r\nperl $body";
}
