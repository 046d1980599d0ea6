#!/usr/bin/ruby
# Ruby's fcgi library.
require 'fcgi'

FCGI.each_request do |request|
  body = request.in.read
  sleep(request.env['SLEEP_MS'].to_i / 1000.0) if request.env['SLEEP_MS']
  request.out.print "Content-Type: text/plain\r\n\r\nruby #{body}"
  request.finish
end
