-- Arguments: a file with a body a line, seconds to send them for, the number of callers.
-- Then every caller gets its last answer, so that answers can be counted against logged lines.
local ffi = require("ffi")
ffi.cdef([[
  typedef struct { long seconds, micros; } moment;
  int gettimeofday(moment *, void *);
  int getpid(void);
  int kill(int, int);
]])
local SIGINT = 2
local clock = ffi.new("moment")
local bodies, callers, seconds, thread = {}, nil, nil, nil
-- Read by done(), which runs elsewhere. wrk asks for one request that it does not send.
began, ended, sent, waiting = 0, 0, -1, 0

local function now()
  ffi.C.gettimeofday(clock, nil)
  return tonumber(clock.seconds) + tonumber(clock.micros) / 1e6
end

function setup(only)
  thread = only
end

function init(args)
  seconds, callers = tonumber(args[2]), tonumber(args[3])
  for body in io.lines(args[1]) do
    bodies[#bodies + 1] = wrk.format("POST", nil, { ["Content-Type"] = "application/json" }, body)
  end
end

function request()
  local time = now()
  if sent < 1 then
    began = time
  elseif time > began + seconds then
    ended, waiting = time, waiting + 1
    if waiting == callers then
      ffi.C.kill(ffi.C.getpid(), SIGINT) -- on which wrk sums up
    end
    return "" -- sends nothing, so this caller waits for the others
  end
  sent = sent + 1
  return bodies[sent % #bodies + 1]
end

function done(summary, latency)
  local faults = summary.errors
  print(string.format(
    'result: {"sent": %d, "answered": %d, "errors": %d, "seconds": %f, "p50": %f, "p99": %f}',
    thread:get("sent"),
    summary.requests,
    faults.status + faults.connect + faults.read + faults.write,
    thread:get("ended") - thread:get("began"),
    latency:percentile(50) / 1000,
    latency:percentile(99) / 1000
  ))
end
