-- A first scenario. `backstaff run` runs it, and every other `*.lua` in this folder.
--
-- It runs on the lane `sim`, as `backstaff.toml` says: a small guest inside backstaff itself, with a real console, so there
-- is nothing to install. `lanes/machine.toml` describes a machine of your own.

scenario("boots when enter is pressed", {
  -- What the machine must offer. Where it does not, the scenario is skipped, and says so.
  needs = { "keyboard", "screen", "digest", "serial" },
  -- For `backstaff run --tag smoke`.
  tags = { "smoke" },
  -- Seconds, once the machine is ready.
  timeout = 60,
}, function(t)
  -- Steps are what reports show. Each has a deadline of its own, and a screenshot at its end.
  t:step("the guest says hello", function()
    -- Waits look at everything that was said since the last match, so nothing is missed and nobody has to sleep.
    t.serial:wait_for("^Hello from ")
  end)

  t:step("enter boots it", function()
    t.keyboard:press("enter")
    -- This guest draws a symbol on its screen, the digest, that tells what it has seen.
    t.digest:wait_for { scene_transition = { from = "awaiting" } }
    t.digest:wait_for { line_rendered = { row = at_least(21) } }
  end)

  t:step("the screen is as it should be", function()
    -- An expectation judges what is there now.
    expect(t.screen:screenshot("booted")):matches { width = 1024, height = 768 }
    expect(t.serial:lines()):contains(pattern("^available GOP modes: "))
  end)
end)

-- On a machine of your own there is no digest. A scenario for one that logs in on its serial port may look like this:
--
-- scenario("logs in", { needs = { "keyboard", "serial" }, lane = "machine" }, function(t)
--   t.serial:wait_for("login: $")
--   t.keyboard:type("root\n")
--   t.serial:wait_for("# $")
-- end)
