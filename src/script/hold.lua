-- Runs before the prelude, in states whose failed calls may be held. What it knows of Lua's `debug` library stays in
-- here; scripts have none.
local getinfo, getlocal, setlocal = debug.getinfo, debug.getlocal, debug.setlocal
local getupvalue, setupvalue, getmetatable = debug.getupvalue, debug.setupvalue, debug.getmetatable
local pcall, error, type, rawget, ipairs, next = pcall, error, type, rawget, ipairs, next
local setmetatable, globals = setmetatable, _G
local pack, unpack, sub = table.pack, table.unpack, string.sub
local running, isyieldable, wrap = coroutine.running, coroutine.isyieldable, coroutine.wrap

local M = {}

-- Which coroutine called the binding that runs this one.
local parents = setmetatable({}, { __mode = "k" })

-- Bindings that run functions of the script, and so are never themselves what failed.
local RUNNERS = { step = true, spawn = true, all = true, race = true, eventually = true }
local PASSED_ON = { step = true, spawn = true, all = true, race = true, join = true, skip = true, defer = true, always = true }

local function child(parent, f)
  return function(...)
    parents[running()] = parent
    return f(...)
  end
end

local function children(...)
  local parent, arguments = running(), pack(...)
  for index = 1, arguments.n do
    local argument = arguments[index]
    if type(argument) == "function" then
      arguments[index] = child(parent, argument)
    elseif type(argument) == "table" then
      local copy = {}
      for key, value in next, argument do
        copy[key] = type(value) == "function" and child(parent, value) or value
      end
      arguments[index] = copy
    end
  end
  return unpack(arguments, 1, arguments.n)
end

-- Whether the script itself catches what is raised here.
local function is_caught()
  local level = 3
  local info = getinfo(level, "f")
  while info do
    if info.func == M.pcall or info.func == M.xpcall then return true end
    level = level + 1
    info = getinfo(level, "f")
  end
  local thread = parents[running()]
  for _ = 1, 32 do
    if not thread then return false end
    level = 0
    info = getinfo(thread, level, "f")
    while info do
      if info.func == M.pcall or info.func == M.xpcall then return true end
      level = level + 1
      info = getinfo(thread, level, "f")
    end
    thread = parents[thread]
  end
  return false
end

local function guarded(name, member)
  if name == "hold" then
    return function()
      if isyieldable() then M.hold(running(), nil, false, M.now()) end
    end
  end
  return function(...)
    while true do
      local results
      local began = M.now()
      if RUNNERS[name] then
        results = pack(pcall(member, children(...)))
      else
        results = pack(pcall(member, ...))
      end
      if results[1] then return unpack(results, 2, results.n) end
      local failure = results[2]
      if PASSED_ON[name] or not isyieldable() then
        M.settle(failure)
        error(failure, 0)
      end
      local decision = M.hold(running(), failure, is_caught(), began)
      if decision == "continue" then return end
      if decision ~= "retry" then error(failure, 0) end
    end
  end
end

-- Lets the failed calls of an object's methods be held.
function M.guard(object)
  local meta = getmetatable(object)
  local index = meta.__index
  local cache = setmetatable({}, { __mode = "k" })
  meta.__index = function(self, key)
    local member
    if type(index) == "table" then member = index[key] else member = index(self, key) end
    if type(member) ~= "function" then return member end
    if key == "within" or key == "cases" then return member end
    local guard = cache[member]
    if not guard then
      guard = guarded(key, member)
      cache[member] = guard
    end
    return guard
  end
end

-- A function of the script that is called from nowhere.
function M.root(f)
  return function(...)
    parents[running()] = nil
    return f(...)
  end
end

local function is_script(info)
  local first = sub(info.source, 1, 1)
  return first == "@" or sub(info.source, 1, 7) == "=prompt"
end

-- Whoever asks may be called from the very coroutine that is looked at, whose top then moves; seen from a coroutine of
-- its own it stands still, and its base never moves.
local function aside(f)
  return function(...) return wrap(f)(...) end
end

local function depth(thread)
  local levels = 0
  while getinfo(thread, levels, "l") do levels = levels + 1 end
  return levels
end

-- The functions of the script that are being called, innermost first.
M.frames = aside(function(thread)
  local frames = {}
  for _ = 1, 32 do
    if not thread then break end
    local levels = depth(thread)
    for level = 0, levels - 1 do
      local info = getinfo(thread, level, "nSlf")
      if is_script(info) then
        frames[#frames + 1] = {
          thread = thread, from_base = levels - level, func = info.func, name = info.name,
          source = info.source, line = info.currentline, defined = info.linedefined,
        }
      end
    end
    thread = parents[thread]
  end
  return frames
end)

-- `visit(name, value, is_upvalue, index)` for each variable that a frame sees by its name, until it returns true.
local function each(frame, visit)
  local level = depth(frame.thread) - frame.from_base
  local index, last = 1, {}
  local name = getlocal(frame.thread, level, index)
  while name do
    if sub(name, 1, 1) ~= "(" then last[name] = index end
    index = index + 1
    name = getlocal(frame.thread, level, index)
  end
  for at = 1, index - 1 do
    local known, value = getlocal(frame.thread, level, at)
    if last[known] == at and visit(known, value, false, at, level) then return true end
  end
  index = 1
  local upvalue, value = getupvalue(frame.func, index)
  while upvalue do
    if upvalue ~= "_ENV" and upvalue ~= "" and not last[upvalue] and visit(upvalue, value, true, index) then
      return true
    end
    index = index + 1
    upvalue, value = getupvalue(frame.func, index)
  end
  return false
end

-- A list of { name, value, is_upvalue }.
M.variables = aside(function(frame)
  local list = {}
  each(frame, function(name, value, is_upvalue)
    list[#list + 1] = { name = name, value = value, is_upvalue = is_upvalue }
  end)
  return list
end)

-- What a piece of Lua at the prompt sees: the variables of the frames, what was set at the prompt, what is always
-- there, and the globals.
function M.environment(frames, own, always)
  return setmetatable({}, {
    __index = aside(function(_, wanted)
      for _, frame in ipairs(frames) do
        local found
        if each(frame, function(name, value)
          found = value
          return name == wanted
        end) then return found end
      end
      local value = rawget(own, wanted)
      if value == nil then value = rawget(always, wanted) end
      if value == nil then value = globals[wanted] end
      return value
    end),
    __newindex = aside(function(_, wanted, new)
      for _, frame in ipairs(frames) do
        if each(frame, function(name, _, is_upvalue, index, level)
          if name ~= wanted then return false end
          if is_upvalue then
            setupvalue(frame.func, index, new)
          else
            setlocal(frame.thread, level, index, new)
          end
          return true
        end) then return end
      end
      own[wanted] = new
    end),
  })
end

return M
