-- What wrk asks and what it reports.
--
--   wrk -t1 -c64 -d5s -s loadtest/wrk.lua URL -- get              the URL, again and again
--   wrk -t1 -c64 -d5s -s loadtest/wrk.lua URL -- post 1024        with a body of so many bytes
--   wrk -t1 -c64 -d5s -s loadtest/wrk.lua URL -- routes 10000     /r/0/ … /r/9999/ in mixed order
--   wrk -t1 -c64 -d5s -s loadtest/wrk.lua URL -- tokens FILE      a bearer token of each line of FILE in turn
--
-- Ends with one line "REPORT {json}"; times are microseconds.

function init(args)
  local what, count = args[1], tonumber(args[2] or 0)
  if what == "post" then
    wrk.method = "POST"
    wrk.headers["Content-Type"] = "application/octet-stream"
    wrk.body = string.rep("x", count)
  elseif what == "routes" then
    -- Made before the first is sent: formatting 10,000 requests is not what is measured.
    local requests, at = {}, 0
    for n = 0, count - 1 do
      requests[n] = wrk.format("GET", "/r/" .. n .. "/")
    end
    -- wrk looks for a function of this name after init; without one it sends the same bytes each time.
    -- 7919 is prime to the counts we use: neighbours in time are not neighbours in the table.
    request = function()
      at = (at + 7919) % count
      return requests[at]
    end
  elseif what == "tokens" then
    local requests, count, at = {}, 0, 0
    for token in io.lines(args[2]) do
      requests[count] = wrk.format("GET", nil, {["Host"] = "load.test", ["Authorization"] = "Bearer " .. token})
      count = count + 1
    end
    request = function()
      at = (at + 1) % count
      return requests[at]
    end
  end
end

function done(summary, latency, _)
  local errors = summary.errors
  print(string.format(
    'REPORT {"requests": %d, "us": %d, "bytes": %d, "bad_status": %d, "bad_socket": %d, "p50": %d, "p99": %d, "p999": %d, "max": %d}',
    summary.requests, summary.duration, summary.bytes, errors.status,
    errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max))
end
