#!/usr/bin/perl
# Perl's CGI::Fast.
use strict;
use warnings;
use CGI::Fast;

while (my $cgi = CGI::Fast->new) {
    print $cgi->header('text/plain'), 'fast ', scalar $cgi->param('q');
}
