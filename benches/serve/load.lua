-- For wrk: sends the files named after `--` in turn, and writes what was measured as one line of JSON.
local requests, turn = {}, 0

function init(args)
   for index, name in ipairs(args) do
      local file = assert(io.open(name, "rb"))
      requests[index] = wrk.format("POST", nil, nil, file:read("*a"))
      file:close()
   end
end

function request()
   turn = turn % #requests + 1
   return requests[turn]
end

function done(summary, latency)
   local errors = summary.errors
   io.write(string.format(
      '{"requests":%d,"seconds":%.6f,"p50_seconds":%.6f,"p99_seconds":%.6f,"max_seconds":%.6f,"errors":%d}\n',
      summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e6, latency:percentile(99) / 1e6,
      latency.max / 1e6, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
