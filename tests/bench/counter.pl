#!/usr/bin/perl
# The counter in Perl, as the manual of FCGI::ProcManager says: counter.pl WORKERS, socket on fd 0.
use strict;
use warnings;
use FCGI;
use FCGI::ProcManager;

my $manager = FCGI::ProcManager->new({ n_processes => $ARGV[0], pm_title => 'counter' });
my $request = FCGI::Request();
my $number = 0;
$manager->pm_manage();
while ($request->Accept() >= 0) {
	$manager->pm_pre_dispatch();
	$number++;
	print "Content-Type: text/plain\r\n\r\n$$ $number\n";
	$manager->pm_post_dispatch();
}
