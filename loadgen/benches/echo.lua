-- Makes wrk talk to a plain echo: it sends an HTTP response of 64 bytes, and takes the echo for the reply.
-- wrk parses the first request() of its first thread itself, as a check at start: that one must be a request.
local body = string.rep("x", 25)
local message = "HTTP/1.1 200 OK\r\nContent-Length: " .. #body .. "\r\n\r\n" .. body

local threads = 0
function setup(thread)
   thread:set("number", threads)
   threads = threads + 1
end

local started = false
function request()
   if number == 0 and not started then
      started = true
      return "GET / HTTP/1.1\r\nHost: echo\r\n\r\n"
   end
   return message
end
