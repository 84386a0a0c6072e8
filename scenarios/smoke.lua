-- The least that a lane with the reference guest must do.

scenario("says hello and shows a digest", {
  needs = { "screen", "digest", "serial" },
  tags = { "smoke" },
  timeout = 60,
}, function(t)
  t.serial:wait_for("^Hello from Uncalibrated Sextant$")
  t.serial:wait_for("available GOP modes: .*\\b1024x768\\b")

  local first = t.digest:wait_for { frame_counter = any }
  local later = t.digest:wait_for { frame_counter = function(counter) return counter > first.frame_counter end }
  expect(later.channel_hashes):equals(first.channel_hashes)

  local shot = t.screen:screenshot("awaiting")
  expect(shot):matches { width = 1024, height = 768 }
end)
