-- One boot, two ways: to the prompt, down a wrong turning, back, and home. What was undone is in nobody's memory: the
-- guest's own record, which it writes when it powers off, knows only the second way.

scenario("goes back to the prompt and takes another way", {
  needs = { "keyboard", "digest", "serial", "snapshot" },
  tags = { "snapshot" },
  timeout = 120,
}, function(t)
  local keyboard, digest, lane = t.keyboard, t.digest, t.lane

  t:step("forward to the prompt", function()
    digest:wait_for(any)
    keyboard:press("enter")
    digest:wait_for { line_rendered = { row = at_least(21) } }
    lane:snapshot("prompt")
  end)

  t:step("a wrong turning", function()
    keyboard:press("r")
    digest:wait_for { bootloader_decision = { choice = "retry" } }
  end)

  t:step("back at the prompt", function()
    lane:restore("prompt")
    expect(digest:latest()):matches { channel_hashes = { bootloader_decision = 0 } }
  end)

  t:step("another way", function()
    keyboard:press("i")
    digest:wait_for { line_rendered = { row = 25 } }
    keyboard:paste("sextant{HELLO_OPERATOR}")
    keyboard:press("enter")
    digest:wait_for { paste_received = { correct = true } }
    digest:wait_for { scene_transition = { to = "parked" } }
  end)

  t:step("the guest remembers only that", function()
    keyboard:press("enter")
    lane:wait_for_shutdown()
    local decisions = {}
    for _, record in ipairs(t.serial:drain()) do
      if record.type == "bootloader_decision" then decisions[#decisions + 1] = record.choice end
    end
    expect(decisions):equals { "ignore" }
    expect(t:reconcile(digest, t.serial)):agrees()
  end)
end)
