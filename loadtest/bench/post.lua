-- POST one JSON body again and again (`@name`: that of a file), or GET without one. The last line printed is the result as JSON, times in microseconds.
-- No `request` function: wrk then sends one prepared text and runs no Lua per request.
local result = '{"requests":%d,"micros":%d,"p50":%.1f,"p99":%.1f,"p999":%.1f,'
  .. '"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}\n'

function init(args)
  if args[1] and args[1] ~= "" then
    wrk.method = "POST"
    wrk.body = args[1]
    -- Arguments have a limit, files have none; no JSON begins like this.
    if args[1]:sub(1, 1) == "@" then
      wrk.body = assert(io.open(args[1]:sub(2), "rb")):read("*a")
    end
    wrk.headers["Content-Type"] = "application/json"
  end
  if args[2] and args[2] ~= "" then
    wrk.headers["Authorization"] = "Bearer " .. args[2]
  end
end

function done(summary, latency, _)
  local errors = summary.errors
  io.write(string.format(result, summary.requests, summary.duration, latency:percentile(50),
    latency:percentile(99), latency:percentile(99.9), errors.connect, errors.read, errors.write,
    errors.status, errors.timeout))
end
