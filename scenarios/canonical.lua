-- The whole story of the reference guest: it waits, boots, takes a pasted answer, parks, and powers off. Every
-- claim is checked twice: by the digest on its screen while it runs, by its serial drain afterwards.

scenario("boots, accepts the paste and parks", {
  needs = { "keyboard", "screen", "digest", "serial" },
  tags = { "canonical" },
  timeout = 180,
}, function(t)
  local keyboard, digest, serial = t.keyboard, t.digest, t.serial

  t:step("awaiting", function()
    digest:wait_for(any)
  end)

  t:step("booting", function()
    keyboard:press("enter")
    digest:wait_for { scene_transition = { from = "awaiting", to = one_of { "booting", "stream_exercise" } } }
  end)

  t:step("bootloader prompt", function()
    digest:wait_for { line_rendered = { row = at_least(21) } }
  end)

  t:step("the decoded payload", function()
    keyboard:press("i")
    -- The decision itself leaves the digest within milliseconds; the prompt it leads to stays. The drain proves it.
    digest:wait_for { line_rendered = { row = 25 } }
    keyboard:paste("sextant{HELLO_OPERATOR}", { char_delay = 0.02 })
    keyboard:press("enter")
    digest:wait_for { paste_received = { len = 23, correct = true } }
  end)

  t:step("parked", function()
    digest:wait_for { scene_transition = { from = "booting", to = "parked" } }
  end)

  t:step("power-off", function()
    keyboard:press("enter")
    t.lane:wait_for_shutdown()
  end)

  t:step("the post-mortem", function()
    local drain = serial:drain()
    expect(drain):has_in_order {
      { type = "keypress" },
      { type = "transition", from = "awaiting" },
      { type = "line" },
      { type = "bootloader_decision", choice = "ignore", attempt = 1 },
      { type = "paste", len = 23, correct = true },
      { type = "transition", from = "booting", to = "parked" },
      { type = "keypress" },
      { type = "transition", from = "parked", to = "parked" },
      { type = "refresh_stats" },
    }

    local lines, booted, decided = 0, false, false
    for _, record in ipairs(drain) do
      booted = booted or record.type == "transition"
      decided = decided or record.type == "bootloader_decision"
      if booted and not decided and record.type == "line" then lines = lines + 1 end
    end
    expect(lines):matches(at_least(10))

    expect(drain):never_decreases("t")
    expect(digest:history()):increases("frame_counter")
    expect(t:reconcile(digest, serial)):agrees()
  end)
end)
