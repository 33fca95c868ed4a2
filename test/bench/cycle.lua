-- For wrk: asks for the paths of a file, one after the other and round again. Each thread starts elsewhere.
local paths = {}
local position = 0
local threads = 0

function setup(thread)
  thread:set("offset", threads)
  threads = threads + 1
end

function init(args)
  for line in io.lines(args[1]) do paths[#paths + 1] = line end
  position = offset * 17
end

function request()
  position = position + 1
  return wrk.format("GET", paths[(position - 1) % #paths + 1])
end

function done(summary)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("RESULT %d %d %d %d\n", summary.requests, summary.bytes, summary.duration, failed))
end
