#!/usr/bin/ruby
# Ruby's fcgi library.
require 'fcgi'

FCGI.each_request do |request|
  request.out.print "Content-Type: text/plain\r\n\r\nruby #{request.in.read}"
  request.finish
end
