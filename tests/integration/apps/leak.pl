#!/usr/bin/perl
# Echoes the body, and keeps a megabyte of each request.
use strict;
use warnings;
use FCGI;

my @kept;
my $request = FCGI::Request();
while ($request->Accept() >= 0) {
	read(STDIN, my $body, $ENV{CONTENT_LENGTH} || 0);
	push @kept, "x" x (1 << 20);
	print "Content-Type: text/plain\r\n\r\n", $body // "";
}
