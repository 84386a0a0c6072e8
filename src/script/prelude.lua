-- Runs before every script. Makes deadlines stronger than `pcall`, lets waits pass through coroutines, and
-- closes what a sandboxed script must not have.
local stopped, described, raise, uncaught, PENDING = ...

local pcall, xpcall, error, select = pcall, xpcall, error, select
local pack, unpack = table.pack, table.unpack
local resume, yield, close, create = coroutine.resume, coroutine.yield, coroutine.close, coroutine.create
local setmetatable, type, rawget = setmetatable, type, rawget

-- After every protected call: if the attempt is over, no script may go on.
local function guarded(ok, ...)
  stopped()
  if ok then return true, ... end
  return false, described((...))
end

function _G.pcall(f, ...)
  return guarded(pcall(f, ...))
end

function _G.xpcall(f, handler, ...)
  return guarded(xpcall(f, function(failure)
    stopped()
    return handler(described(failure))
  end, ...))
end

-- A described failure that is raised again must stay what it was.
function _G.error(failure, level)
  if type(failure) == "userdata" then raise(failure) end
  level = level or 1
  error(failure, level == 0 and 0 or level + 1)
end

-- A waiting call yields `PENDING` to the scheduler: pass it outward through the script's own coroutines.
local function drive(thread, ...)
  local results = pack(resume(thread, ...))
  while results[1] and results.n == 2 and results[2] == PENDING do
    results = pack(resume(thread, yield(PENDING)))
  end
  stopped()
  return results
end

function coroutine.resume(thread, ...)
  local results = drive(thread, ...)
  if not results[1] then return false, described(results[2]) end
  return unpack(results, 1, results.n)
end

function coroutine.wrap(f)
  local thread = create(f)
  return function(...)
    local results = drive(thread, ...)
    if not results[1] then error(results[2], 0) end
    return unpack(results, 2, results.n)
  end
end

function coroutine.close(thread)
  local results = pack(close(thread))
  stopped()
  return unpack(results, 1, results.n)
end

-- Finalizers run without the watchdog's hook.
function _G.setmetatable(value, meta)
  if type(meta) == "table" and rawget(meta, "__gc") ~= nil then
    error("setmetatable: `__gc` is not available in scenarios; use `<close>` variables", 2)
  end
  return setmetatable(value, meta)
end

for _, name in ipairs { "dofile", "loadfile", "load", "loadstring", "collectgarbage", "warn", "require" } do
  _G[name] = nil
end
string.dump = nil

local function finish(ok, ...)
  if ok then return ... end
  error((...), 0)
end

-- Runs a function of the script for the scheduler: notes the traceback while the stack still stands.
return function(f, ...)
  return finish(xpcall(f, uncaught, ...))
end
